//! Transactions that compute what they write from what they read, so that a stale read changes the outcome.
//!
//! A transaction is a list of steps over one accumulator. Every answer is mixed into the accumulator, and keys, values,
//! branches and savepoints depend on it. The same steps are interpreted by the library's views here and by the oracle over
//! a `BTreeMap` in `oracle`, which share this file's types and nothing else.

use cachekv::executor::Vm;
use cachekv::multiversion::{MergeOperator, Savepoint, TxIndex, TxView, ViewError};
use proptest::prelude::*;
use std::ops::Bound;

/// Keys are few, so that transactions meet.
pub type Key = u16;
pub type Value = u64;

/// A value never exceeds this, nor do merges take it there.
pub const CAP: u64 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Front,
    Back,
}

/// What a walk does at each step besides looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meddle {
    Nothing,
    /// Deletes the key it stands on.
    DeleteHere,
    /// Sets the key it stands on.
    SetHere,
    /// Deletes the next key in its direction.
    DeleteAhead,
    /// Sets the next key in its direction.
    SetAhead,
    /// Reads the next key in its direction.
    ReadAhead,
}

#[derive(Clone, Debug)]
pub enum Step {
    Get(Key),
    /// Reads the key that the accumulator names.
    GetNamed,
    Contains(Key),
    Set(Key),
    /// Sets or deletes, as the accumulator says.
    SetOrDelete(Key),
    SetNamed,
    Delete(Key),
    Merge(Key, i64),
    Walk {
        from: Bound<Key>,
        to: Bound<Key>,
        sides: Vec<Side>,
        values: bool,
        meddle: Meddle,
    },
    DeleteRange(Key, Key),
    Savepoint,
    RollBack,
    Release,
    /// Rolls back if the accumulator is odd, else releases.
    Settle,
    /// Skips that many steps if the accumulator is odd.
    SkipIfOdd(usize),
    /// Lets another thread go first.
    Yield,
}

pub type Script = Vec<Step>;

/// What a transaction gives back: everything that it saw, condensed.
pub type Output = u64;

pub fn mix(acc: u64, seen: u64) -> u64 {
    (acc ^ seen.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(23).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

pub fn mix_option(acc: u64, seen: Option<Value>) -> u64 {
    seen.map_or(mix(acc, u64::MAX), |value| mix(acc, value))
}

pub fn named(acc: u64, keys: Key) -> Key {
    (acc >> 33) as Key % keys
}

pub fn value_of(acc: u64) -> Value {
    (acc >> 17) % CAP
}

/// Adds, and refuses to go below zero or above the cap.
pub struct Bounded;

impl MergeOperator<Key, Value> for Bounded {
    type Operand = i64;
    fn merge(_: &Key, base: Option<&Value>, operand: &i64) -> Value {
        base.copied().unwrap_or(0).saturating_add_signed(*operand)
    }
    fn admits(_: &Key, base: Option<&Value>, operand: &i64) -> bool {
        base.copied().unwrap_or(0).checked_add_signed(*operand).is_some_and(|sum| sum <= CAP)
    }
}

/// Interprets scripts over views.
pub struct Interpreter {
    pub keys: Key,
}

impl Vm for Interpreter {
    type Key = Key;
    type Value = Value;
    type Merge = Bounded;
    type Transaction = Script;
    type Output = Output;
    type Error = ViewError;

    fn execute(&self, script: &Script, view: &TxView<'_, Key, Value, Bounded>) -> Result<Output, ViewError> {
        let mut acc = u64::from(view.index());
        let mut savepoints: Vec<Savepoint> = Vec::new();
        let mut at = 0;
        while let Some(step) = script.get(at) {
            at += 1;
            match step {
                Step::SkipIfOdd(steps) if acc & 1 == 1 => at += steps,
                Step::SkipIfOdd(_) => {}
                Step::Yield => std::thread::yield_now(),
                step => acc = self.step(step, acc, view, &mut savepoints)?,
            }
        }
        Ok(acc)
    }
}

/// Takes two scripts of five for long ones, and knows nothing of those before the given one.
pub struct Knowing(pub Interpreter, pub TxIndex);

impl Vm for Knowing {
    type Key = Key;
    type Value = Value;
    type Merge = Bounded;
    type Transaction = Script;
    type Output = Output;
    type Error = ViewError;

    fn execute(&self, script: &Script, view: &View<'_>) -> Result<Output, ViewError> {
        self.0.execute(script, view)
    }

    fn is_long(&self, index: TxIndex, _: &Script) -> Option<bool> {
        (index >= self.1).then_some(index * 7 % 5 < 2)
    }
}

type View<'a> = TxView<'a, Key, Value, Bounded>;

impl Interpreter {
    fn step(&self, step: &Step, acc: u64, view: &View<'_>, open: &mut Vec<Savepoint>) -> Result<u64, ViewError> {
        match step {
            Step::Get(key) => return Ok(mix_option(acc, view.get(key)?)),
            Step::GetNamed => return Ok(mix_option(acc, view.get(&named(acc, self.keys))?)),
            Step::Contains(key) => return Ok(mix(acc, u64::from(view.contains(key)?))),
            Step::Set(key) => view.set(*key, value_of(acc)),
            Step::SetNamed => view.set(named(acc, self.keys), value_of(acc)),
            Step::SetOrDelete(key) if acc & 2 == 0 => view.set(*key, value_of(acc)),
            Step::SetOrDelete(key) | Step::Delete(key) => view.delete(*key),
            Step::Merge(key, operand) => match view.merge(*key, *operand) {
                Ok(()) => {}
                Err(ViewError::Refused { .. }) => return Ok(mix(acc, 77)),
                Err(error) => return Err(error),
            },
            Step::Walk { from, to, sides, values, meddle } => {
                return if *values {
                    let walk = view.range((*from, *to)).map(|entry| entry.map(|(key, value)| (key, Some(value))));
                    self.walk(walk, sides, *meddle, acc, view)
                } else {
                    let walk = view.keys((*from, *to)).map(|key| key.map(|key| (key, None)));
                    self.walk(walk, sides, *meddle, acc, view)
                };
            }
            Step::DeleteRange(from, to) => return Ok(mix(acc, view.delete_range(*from..*to)? as u64)),
            Step::Savepoint => open.push(view.savepoint()),
            Step::RollBack => open.pop().map_or(Ok(()), |savepoint| view.roll_back(savepoint))?,
            Step::Release => open.pop().map_or(Ok(()), |savepoint| view.release(savepoint))?,
            Step::Settle if acc & 1 == 1 => open.pop().map_or(Ok(()), |savepoint| view.roll_back(savepoint))?,
            Step::Settle => open.pop().map_or(Ok(()), |savepoint| view.release(savepoint))?,
            Step::SkipIfOdd(_) | Step::Yield => {}
        }
        Ok(acc)
    }

    fn walk(
        &self,
        mut walk: impl DoubleEndedIterator<Item = Result<(Key, Option<Value>), ViewError>>,
        sides: &[Side],
        meddle: Meddle,
        mut acc: u64,
        view: &View<'_>,
    ) -> Result<u64, ViewError> {
        for side in sides {
            let next = match side {
                Side::Front => walk.next(),
                Side::Back => walk.next_back(),
            };
            let Some(entry) = next else {
                acc = mix(acc, 13);
                continue;
            };
            let (key, value) = entry?;
            acc = mix_option(mix(acc, u64::from(key)), value);
            let ahead = ahead(key, *side, self.keys);
            match meddle {
                Meddle::Nothing => {}
                Meddle::DeleteHere => view.delete(key),
                Meddle::SetHere => view.set(key, value_of(acc)),
                Meddle::DeleteAhead => view.delete(ahead),
                Meddle::SetAhead => view.set(ahead, value_of(acc)),
                Meddle::ReadAhead => acc = mix_option(acc, view.get(&ahead)?),
            }
        }
        Ok(acc)
    }
}

pub fn ahead(key: Key, side: Side, keys: Key) -> Key {
    match side {
        Side::Front if key + 1 == keys => 0,
        Side::Front => key + 1,
        Side::Back if key == 0 => keys - 1,
        Side::Back => key - 1,
    }
}

/// Steps over `keys` keys.
pub fn step(keys: Key) -> impl Strategy<Value = Step> {
    let key = 0..keys;
    let bound = prop_oneof![
        1 => Just(Bound::Unbounded),
        3 => key.clone().prop_map(Bound::Included),
        1 => key.clone().prop_map(Bound::Excluded),
    ];
    let side = prop_oneof![3 => Just(Side::Front), 1 => Just(Side::Back)];
    let meddle = prop_oneof![
        4 => Just(Meddle::Nothing),
        1 => Just(Meddle::DeleteHere),
        1 => Just(Meddle::SetHere),
        1 => Just(Meddle::DeleteAhead),
        1 => Just(Meddle::SetAhead),
        1 => Just(Meddle::ReadAhead),
    ];
    let walk = (bound.clone(), bound, prop::collection::vec(side, 0..6), any::<bool>(), meddle)
        .prop_map(|(from, to, sides, values, meddle)| Step::Walk { from, to, sides, values, meddle });
    prop_oneof![
        4 => key.clone().prop_map(Step::Get),
        1 => Just(Step::GetNamed),
        2 => key.clone().prop_map(Step::Contains),
        4 => key.clone().prop_map(Step::Set),
        1 => key.clone().prop_map(Step::SetOrDelete),
        1 => Just(Step::SetNamed),
        2 => key.clone().prop_map(Step::Delete),
        4 => (key.clone(), -60i64..60).prop_map(|(key, operand)| Step::Merge(key, operand)),
        4 => walk,
        1 => (key.clone(), key).prop_map(|(from, to)| Step::DeleteRange(from, to)),
        1 => Just(Step::Savepoint),
        1 => prop_oneof![Just(Step::RollBack), Just(Step::Release), Just(Step::Settle)],
        1 => (1usize..3).prop_map(Step::SkipIfOdd),
        1 => Just(Step::Yield),
    ]
}

/// Blocks of scripts over `keys` keys.
pub fn block(keys: Key, len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Script>> {
    prop::collection::vec(prop::collection::vec(step(keys), 1..9), len)
}
