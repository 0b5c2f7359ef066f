//! What a machine has to be for its blocks to be executed by shards.

use super::coded::Coded;
use super::message::Outcome;
use crate::executor::{Effect, Operand, Vm};

/// A [`Vm`] whose keys, values, operands, transactions and outputs can be sent. Implemented for all of which that is true.
pub trait RemoteVm: Vm<Key: Coded, Value: Coded, Transaction: Coded + Send, Output: Coded> + Send + 'static {
    /// What a transaction did to a key, to be sent.
    fn sent(effect: Effect<Self::Value, Operand<Self>>) -> Outcome;

    /// What was sent, `None` if it is nothing.
    fn received(outcome: Outcome) -> Option<Effect<Self::Value, Operand<Self>>>;
}

impl<V: Vm + Send + 'static> RemoteVm for V
where
    V::Key: Coded,
    V::Value: Coded,
    V::Transaction: Coded + Send,
    V::Output: Coded,
    Operand<V>: Coded,
{
    fn sent(effect: Effect<V::Value, Operand<V>>) -> Outcome {
        match effect {
            Effect::NotWritten => Outcome::NotWritten,
            Effect::Put(value) => Outcome::Put(value.encode()),
            Effect::Delete => Outcome::Delete,
            Effect::Merge(operands) => Outcome::Merge(operands.iter().map(Coded::encode).collect()),
        }
    }

    fn received(outcome: Outcome) -> Option<Effect<V::Value, Operand<V>>> {
        Some(match outcome {
            Outcome::NotWritten => Effect::NotWritten,
            Outcome::Put(value) => Effect::Put(V::Value::decode(value)?),
            Outcome::Delete => Effect::Delete,
            Outcome::Merge(operands) => Effect::Merge(operands.into_iter().map(Coded::decode).collect::<Option<_>>()?),
        })
    }
}
