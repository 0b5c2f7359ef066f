//! The workloads as a machine of shards: their transactions can be sent.

use crate::workload::{Fault, Labour, Machine, Receipt, Transaction, View};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use cachekv::executor::Vm;
use cachekv::remote::Coded;

/// What shards and coordinator have to agree on: the transactions' form, and what they do.
pub(crate) const MACHINE: &str = "workloads/1";

/// A transaction with the work that it is to do: whoever executes it does as much as anybody else.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Sent {
    pub(crate) labour: Labour,
    pub(crate) transaction: Transaction,
}

/// Executes what is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workloads;

impl Vm for Workloads {
    type Key = Bytes;
    type Value = Bytes;
    type Merge = <Machine as Vm>::Merge;
    type Transaction = Sent;
    type Output = Receipt;
    type Error = Fault;

    fn execute(&self, sent: &Sent, view: &View<'_>) -> Result<Receipt, Fault> {
        Machine { labour: sent.labour.clone() }.execute(&sent.transaction, view)
    }
}

fn bytes_of(thing: &impl BorshSerialize) -> Bytes {
    borsh::to_vec(thing).unwrap_or_default().into() // writing into memory does not fail
}

impl Coded for Sent {
    fn encode(&self) -> Bytes {
        bytes_of(self)
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        borsh::from_slice(&bytes).ok()
    }
}

impl Coded for Receipt {
    fn encode(&self) -> Bytes {
        bytes_of(self)
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        borsh::from_slice(&bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;
    use crate::kind::Kind;
    use crate::workload::{accesses, block, genesis};
    use cachekv::executor::execute_sequentially;
    use cachekv::kv::{KvRead, KvStore, MemStore};
    use std::collections::BTreeMap;

    /// Every transaction comes back from its bytes, does what it did, and writes no more than was declared of it.
    #[test]
    fn what_is_sent_is_what_was_meant_and_writes_what_was_declared() {
        for workload in Kind::ALL {
            let mut chain = Chain { workload, seed: 7, accounts: 250, height: 0, transactions: 0 };
            let store = MemStore::<Bytes, Bytes>::new();
            store.commit(genesis(&chain)).unwrap();
            for _ in 0..3 {
                let (before, block) = (store.snapshot().unwrap(), block(&chain, 300));
                let declared = accesses(&block, &before).unwrap();
                let labour = Labour::measured(0);
                let sent: Vec<_> =
                    block.iter().map(|one| Sent { labour: labour.clone(), transaction: one.clone() }).collect();
                for one in &sent {
                    assert_eq!(Sent::decode(one.encode()).as_ref(), Some(one));
                    let bytes = one.encode();
                    assert_eq!(Sent::decode(bytes.slice(..bytes.len() - 1)), None);
                }
                let mut hook = |commit: cachekv::executor::Commit<'_, Bytes, Bytes, Receipt>| {
                    let writes = &declared[commit.index as usize].writes;
                    let stray = commit.writes.iter().find(|(key, _)| !writes.contains(key));
                    assert!(stray.is_none(), "{workload}: {:?} writes {stray:?}", block[commit.index as usize]);
                    assert_eq!(Receipt::decode(commit.output.encode()), Some(*commit.output));
                    std::ops::ControlFlow::Continue(())
                };
                let done = execute_sequentially(&before, &sent, &Workloads, Some(&mut hook));
                let done = done.map_err(|error| error.cause.to_string()).unwrap();
                let due = execute_sequentially(&before, &block, &Machine { labour }, None);
                let due = due.map_err(|error| error.cause.to_string()).unwrap();
                let all = |batch: &cachekv::kv::WriteBatch<Bytes, Bytes>| {
                    batch.iter().map(|(k, op)| (k.clone(), op.clone())).collect::<BTreeMap<_, _>>()
                };
                assert_eq!((&done.outputs, all(&done.batch)), (&due.outputs, all(&due.batch)));
                store.commit(done.batch).unwrap();
                chain = chain.next(300);
            }
            assert!(store.snapshot().unwrap().range(..).count() > 0);
        }
    }
}
