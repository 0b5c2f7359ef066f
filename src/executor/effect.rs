//! What a transaction did to one key, as others are told.

use crate::kv::Op;
use crate::multiversion::Write;
use std::convert::Infallible;

/// What a committed transaction did to a key: to tell who executes others of its block elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<V, O = Infallible> {
    /// It did not write it.
    NotWritten,
    /// It gave it this value.
    Put(V),
    /// It deleted it.
    Delete,
    /// It left these operands, in this order, and neither a value nor a delete.
    Merge(Vec<O>),
}

impl<V, O> Effect<V, O> {
    /// As it stands in a version chain; `None` if it does not.
    pub(super) fn into_write(self) -> Option<Write<V, O>> {
        match self {
            Effect::NotWritten => None,
            Effect::Merge(none) if none.is_empty() => None,
            Effect::Put(value) => Some(Write::Put(value)),
            Effect::Delete => Some(Write::Delete),
            Effect::Merge(operands) => Some(Write::Merge(operands.into_iter().collect())),
        }
    }
}

/// What a batch says of a key.
impl<V, O> From<Option<Op<V>>> for Effect<V, O> {
    fn from(op: Option<Op<V>>) -> Self {
        op.map(Write::from).into()
    }
}

impl<V, O> From<Option<Write<V, O>>> for Effect<V, O> {
    fn from(write: Option<Write<V, O>>) -> Self {
        match write {
            None => Effect::NotWritten,
            Some(Write::Put(value)) => Effect::Put(value),
            Some(Write::Delete) => Effect::Delete,
            Some(Write::Merge(operands)) => Effect::Merge(operands.into_vec()),
        }
    }
}
