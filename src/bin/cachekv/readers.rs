//! Readers: threads that walk over snapshots while blocks are executed, committed and flushed, and check every one.

use crate::chain::Chain;
use crate::failure::Failure;
use crate::workload::{Audit, name_key};
use bytes::Bytes;
use cachekv::kv::{KvRead, KvStore};
use cachekv::restore::RESERVED;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Walks over `state` from end to end, and checks that it is whole.
///
/// # Errors
/// If it cannot be read, or is not as it must be.
pub(crate) fn walk(state: &impl KvRead<Key = Bytes, Value = Bytes>) -> Result<Chain, Failure> {
    let wrong = |wrong| Failure::Wrong(format!("a snapshot of the store is not as it must be: {wrong}"));
    let mut audit = Audit::default();
    let mut last: Option<Bytes> = None;
    for entry in state.range(..Bytes::from_static(RESERVED)) {
        let (key, value) = entry?;
        if last.as_ref().is_some_and(|last| *last >= key) {
            return Err(wrong(format!("{} comes out of order", name_key(&key))));
        }
        audit.see(&key, &value).map_err(wrong)?;
        last = Some(key);
    }
    audit.conclude().map_err(wrong)
}

/// Walks over snapshots of `store`, resting between them, until `stop` says so; at least once, and never backwards in
/// height. Returns the number of walks. Sets `stop` when it finds something wrong.
///
/// # Errors
/// As [`walk`].
pub(crate) fn read<S>(store: &S, rest: Duration, stop: &AtomicBool) -> Result<u64, Failure>
where
    S: KvStore<Key = Bytes, Value = Bytes>,
{
    let mut height = 0;
    for walks in 1.. {
        let seen = store.snapshot().map_err(Failure::from).and_then(|state| walk(&state));
        let chain = seen.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        if chain.height < height {
            stop.store(true, Ordering::Relaxed);
            return Err(Failure::Wrong(format!("a snapshot of height {} came after one of {height}", chain.height)));
        }
        height = chain.height;
        // Relaxed: it carries nothing but itself; what it is about passes through the join.
        if stop.load(Ordering::Relaxed) {
            return Ok(walks);
        }
        thread::sleep(rest);
    }
    Ok(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::workload::genesis;
    use cachekv::kv::{MemStore, Op};

    fn store(workload: Kind) -> MemStore<Bytes, Bytes> {
        let store = MemStore::new();
        store.commit(genesis(&Chain { workload, seed: 1, accounts: 3, height: 0, transactions: 0 })).unwrap();
        store
    }

    #[test]
    fn a_new_state_is_whole() {
        for workload in Kind::ALL {
            let state = store(workload).snapshot().unwrap();
            assert_eq!(walk(&state).unwrap(), Chain::of(&state).unwrap().unwrap());
        }
    }

    #[test]
    fn what_is_missing_or_changed_is_noticed_and_stops_the_run() {
        for workload in Kind::ALL {
            let all: Vec<_> = store(workload).snapshot().unwrap().range(..).map(Result::unwrap).collect();
            for (key, value) in &all {
                for op in [Op::Delete, Op::Put(Bytes::from(vec![0; 8])), Op::Put(Bytes::from("odd"))] {
                    let level_gone = key.starts_with(b"o") && op == Op::Delete; // as if it had been taken
                    if level_gone || op.value() == Some(value) {
                        continue;
                    }
                    let store = store(workload);
                    store.commit([(key.clone(), op.clone())].into_iter().collect()).unwrap();
                    let stop = AtomicBool::new(false);
                    let verdict = read(&store, Duration::ZERO, &stop);
                    assert!(matches!(verdict, Err(Failure::Wrong(_))), "{} {op:?}: {verdict:?}", name_key(key));
                    assert!(stop.into_inner());
                }
            }
        }
    }
}
