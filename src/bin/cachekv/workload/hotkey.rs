//! The hot key: every transaction adds one to the same counter, by a merge operator. Such additions are writes and no
//! reads, so that nobody is in anybody's way.

use super::{Fault, Labour, Receipt, View};
use bytes::Bytes;
use cachekv::multiversion::MergeOperator;

pub(super) const COUNTER: Bytes = Bytes::from_static(b"c");

/// Adds a number to a number; a key that is not there counts as 0. What would overflow is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Add;

/// The number that a value is; `None` for one that is not there or is none.
fn parse(value: Option<&Bytes>) -> Option<u64> {
    value.map_or(Some(0), |value| value.as_ref().try_into().ok().map(u64::from_be_bytes))
}

impl MergeOperator<Bytes, Bytes> for Add {
    type Operand = u64;

    fn merge(_: &Bytes, base: Option<&Bytes>, operand: &u64) -> Bytes {
        super::number(parse(base).unwrap_or(0).saturating_add(*operand))
    }

    fn admits(_: &Bytes, base: Option<&Bytes>, operand: &u64) -> bool {
        parse(base).is_some_and(|base| base.checked_add(*operand).is_some())
    }

    fn combine(_: &Bytes, earlier: &u64, later: &u64) -> Option<u64> {
        earlier.checked_add(*later)
    }
}

pub(super) fn execute(labour: &Labour, view: &View<'_>) -> Result<Receipt, Fault> {
    labour.perform(view)?;
    count(view)?;
    Ok(Receipt::Counted)
}

/// Adds one to the counter.
pub(super) fn count(view: &View<'_>) -> Result<(), Fault> {
    Ok(view.merge(COUNTER, 1)?)
}

pub(super) fn genesis(put: &mut impl FnMut(Bytes, u64)) {
    put(COUNTER, 0);
}

/// What must hold: the counter is the number of transactions.
#[derive(Debug, Default)]
pub(super) struct Counter(Option<u64>);

impl Counter {
    pub(super) fn see(&mut self, value: u64) -> Result<(), String> {
        self.0 = Some(value);
        Ok(())
    }

    /// `due` is `None` where there is to be no counter.
    pub(super) fn conclude(&self, due: Option<u64>) -> Result<(), String> {
        if self.0 == due { Ok(()) } else { Err(format!("the counter is {:?}, it should be {due:?}", self.0)) }
    }
}
