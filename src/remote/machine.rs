//! What a machine has to be for its blocks to be executed by shards.

use super::coded::Coded;
use crate::executor::Vm;

/// A [`Vm`] whose keys, values, transactions and outputs can be sent. Implemented for all of which that is true.
pub trait RemoteVm: Vm<Key: Coded, Value: Coded, Transaction: Coded + Send, Output: Coded> + Send + 'static {}

impl<V: Vm + Send + 'static> RemoteVm for V
where
    V::Key: Coded,
    V::Value: Coded,
    V::Transaction: Coded + Send,
    V::Output: Coded,
{
}
