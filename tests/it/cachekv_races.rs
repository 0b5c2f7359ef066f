//! What many threads observe of one store: every completed write, one cut, and a state that never goes back.
//!
//! Each test is a claim that no interleaving may break, and loops to meet many. None of them can fail on correct code, on
//! however slow a machine; each was seen to fail on code that breaks its claim.

use crate::faulty::{Call, Faulty};
use cachekv::cachekv::Store;
use cachekv::kv::{Error, KvRead, KvStore, MemStore, Op, WriteBatch};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

type Mem = MemStore<u64, u64>;

fn entries<K, V>(walk: impl Iterator<Item = Result<(K, V), Error>>) -> Vec<(K, V)> {
    walk.collect::<Result<_, _>>().unwrap()
}

/// Says stop when it goes out of scope, by a panic too, so that a failing test ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `others` over and over on a thread each while `first` runs once on this one.
fn while_running(first: impl FnOnce(), others: &[&(dyn Fn(u64) + Sync)]) {
    let stop = AtomicBool::new(false);
    let ready = Barrier::new(others.len() + 1);
    thread::scope(|scope| {
        let mut running = Vec::new();
        for other in others {
            running.push(scope.spawn(|| {
                let _stop = StopOnDrop(&stop); // also when it fails: then `first` runs to its end alone
                ready.wait();
                let mut round = 0;
                while round == 0 || !stop.load(Ordering::Relaxed) {
                    other(round);
                    round += 1;
                }
            }));
        }
        {
            let _stop = StopOnDrop(&stop);
            ready.wait();
            first();
        }
        // The thread sanitizer sees a join, and not the end of a scope.
        running.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// The audit's scenario: iterators are created and walked over one store while others write to it and create iterators
/// of their own. Upstream, the creation of one rewrites the sorted cache that another walks.
#[test]
fn iterators_created_and_walked_while_others_write_and_create_iterators() {
    let store = Store::new(Mem::from_iter((0..100).map(|key| (key * 10, 0)))).unwrap();
    let walk = |_| {
        let snapshot = store.snapshot().unwrap();
        let forward = entries(snapshot.range(..));
        let mut backward = entries(snapshot.range(..).rev());
        backward.reverse();
        assert_eq!(forward, backward, "two walks of one state");
        assert!(forward.is_sorted_by(|a, b| a.0 < b.0), "each key once, in order");
        assert!(forward.iter().filter(|(key, _)| key % 10 == 0).count() == 100, "no key of the parent is ever missing");
        let mut open = store.range(50..950);
        let first = open.next().unwrap().unwrap();
        assert!(first.0 >= 50);
        assert!(store.range(first.0..=first.0).next().is_some());
        assert!(open.all(|entry| entry.unwrap().0 < 950));
    };
    let write = |round: u64| {
        for key in (0..1000).filter(|key| key % 7 == round % 7) {
            if key % 10 == 0 || round.is_multiple_of(2) { store.set(key, round) } else { store.delete(key) }
        }
    };
    while_running(|| (0..40).for_each(walk), &[&write, &walk, &write]);
}

/// Upstream, a set that races with the folding of the dirty set is lost to iterators for ever, while points see it.
#[test]
fn no_update_is_lost_to_iterators_while_snapshots_are_taken() {
    let store = Store::new(Mem::new()).unwrap();
    let fold = |_| drop(store.snapshot().unwrap());
    let write = || {
        for round in 1..3000 {
            for key in 0..4 {
                store.set(key, round);
                assert_eq!(store.get(&key).unwrap(), Some(round), "a point sees its own write");
                let seen = store.range(key..=key).next().unwrap().unwrap();
                assert_eq!(seen, (key, round), "an iterator sees a completed write");
            }
        }
    };
    while_running(write, &[&fold, &fold]);
    assert_eq!(entries(store.range(..)), (0..4).map(|key| (key, 2999)).collect::<Vec<_>>());
}

/// A write that is known to be complete on another thread shows to every read that begins after.
#[test]
fn a_completed_write_shows_on_every_thread() {
    let store = Store::new(Mem::new()).unwrap();
    let completed = AtomicU64::new(0);
    store.set(1, 0);
    let write = || {
        for round in 1..30_000 {
            store.set(1, round);
            completed.store(round, Ordering::Release);
        }
    };
    let read = |_| {
        let at_least = completed.load(Ordering::Acquire);
        assert!(store.get(&1).unwrap().unwrap() >= at_least);
        let at_least = completed.load(Ordering::Acquire);
        assert!(store.snapshot().unwrap().get(&1).unwrap().unwrap() >= at_least);
    };
    while_running(write, &[&read, &read]);
}

/// Upstream, a flush replaces the maps that a concurrent `Get` is reading.
#[test]
fn points_and_ranges_never_miss_what_a_flush_moves() {
    let store = Store::new(Faulty::new(Mem::new())).unwrap();
    store.set(0, 0);
    store.set(1, 1);
    let read = |_| {
        let before = store.get(&0).unwrap().unwrap();
        let walked = entries(store.range(..));
        assert_eq!(walked.len(), 2, "{walked:?}");
        assert!(walked[0].1 >= before, "the state went back from {before} to {walked:?}");
        let after = store.get(&0).unwrap().unwrap();
        assert!(after >= walked[0].1, "the state went back from {walked:?} to {after}");
        assert_eq!(store.get(&1).unwrap(), Some(1));
        assert!(store.contains(&1).unwrap());
    };
    let flush = || {
        for round in 1..10_000 {
            store.set(0, round);
            if round % 3 == 0 {
                store.parent().fail(Call::Commit, 1);
            }
            assert_eq!(store.flush().is_err(), round % 3 == 0);
        }
    };
    let watch = |_| {
        let mut last = 0;
        for _ in 0..1000 {
            let now = store.get(&0).unwrap().unwrap();
            assert!(now >= last, "the state went back from {last} to {now}");
            last = now;
        }
    };
    while_running(flush, &[&read, &watch]);
}

/// Every write is a pair of equal values in one batch. Whatever is flushed, failed, refreshed or discarded meanwhile, a cut
/// shows equal pairs: half a batch, half a flush, and a base newer or older than the overlay over it would not.
#[test]
fn every_cut_shows_whole_pairs() {
    const PAIRS: u64 = 8;
    let pair = |at: u64, value: u64| [(at, Op::Put(value)), (1000 + at, Op::Put(value))];
    let all = |value| (0..PAIRS).flat_map(|at| pair(at, value)).collect::<WriteBatch<_, _>>();
    let parent = Faulty::new(Mem::new());
    parent.commit(all(0)).unwrap();
    let store = Store::new(parent).unwrap();
    let read = |_| {
        let snapshot = store.snapshot().unwrap();
        let seen = entries(snapshot.range(..)).into_iter().collect::<BTreeMap<_, _>>();
        assert_eq!(seen.len() as u64, 2 * PAIRS);
        for at in 0..PAIRS {
            assert_eq!(seen[&at], seen[&(1000 + at)], "pair {at}");
            assert_eq!(snapshot.get(&at).unwrap(), Some(seen[&at]), "a point of the same cut");
        }
    };
    let write = |round: u64| drop(store.commit(pair(round % PAIRS, round + 1).into_iter().collect()).unwrap());
    let behind = |round: u64| drop(store.parent().store().commit(all(round << 32)).unwrap());
    let renew = || {
        for round in 0..6000 {
            // A failure may meet a later flush than it was planned for: no claim here depends on which.
            let _ = match round % 5 {
                2 => {
                    store.parent().fail(Call::Commit, 1);
                    store.flush()
                }
                3 => store.refresh(),
                4 => store.discard(),
                _ => store.flush(),
            };
        }
    };
    while_running(renew, &[&read, &write, &behind]);
}

/// One writer, one counter: what a reader sees of it never goes back, through flushes that succeed and fail.
#[test]
fn successive_snapshots_never_go_back() {
    let store = Store::new(Store::new(Faulty::new(Mem::new())).unwrap()).unwrap();
    store.set(0, 0);
    let watch = |_| {
        let mut last = 0;
        for _ in 0..50 {
            let now = store.snapshot().unwrap().get(&0).unwrap().unwrap();
            assert!(now >= last, "from {last} back to {now}");
            last = store.get(&0).unwrap().unwrap();
            assert!(last >= now, "from {now} back to {last}");
        }
    };
    let flush_top = |_| store.flush().unwrap();
    let flush_below = |round: u64| {
        if round.is_multiple_of(2) {
            store.parent().parent().fail(Call::Commit, 1);
        }
        let _ = store.parent().flush();
    };
    let write = || (1..20_000).for_each(|round| store.set(0, round));
    while_running(write, &[&watch, &flush_top, &flush_below]);
    store.flush().unwrap();
    assert_eq!(store.parent().get(&0).unwrap(), Some(19_999));
}

/// A batch is applied to a copy of the dirty map: what others write to the original meanwhile must not be lost with it.
#[test]
fn no_write_is_lost_to_a_batch_applied_meanwhile() {
    let store = Store::new(Mem::new()).unwrap();
    let batch = |round: u64| {
        let ops = (0..200).map(|key| (1_000_000 + key, Op::Put(round)));
        store.commit(ops.collect()).unwrap();
    };
    let write = || {
        for key in 0..3000 {
            store.set(key, key);
            assert_eq!(store.get(&key).unwrap(), Some(key));
        }
    };
    while_running(write, &[&batch]);
    assert!(entries(store.range(..3000)).into_iter().eq((0..3000).map(|key| (key, key))));
}

/// A flush that takes along what an earlier one failed to commit merges it with a copy of the dirty map: what is written
/// meanwhile must not be lost with it.
#[test]
fn no_write_is_lost_to_a_flush_that_merges() {
    let store = Store::new(Faulty::new(Mem::new())).unwrap();
    let flush = |round: u64| {
        if !round.is_multiple_of(50) {
            store.parent().fail(Call::Commit, 1);
        }
        let _ = store.flush();
    };
    let write = || {
        for key in 0..30_000 {
            store.set(key, key);
            assert_eq!(store.get(&key).unwrap(), Some(key));
        }
    };
    while_running(write, &[&flush]);
    assert!(entries(store.range(..)).into_iter().eq((0..30_000).map(|key| (key, key))));
}

/// A batch applied to a copy of the dirty map must not bring back what was discarded or flushed meanwhile.
#[test]
fn a_batch_applied_meanwhile_brings_nothing_back() {
    let store = Store::new(Mem::new()).unwrap();
    for round in 0..300 {
        store.set(round, round); // complete before the discard begins: gone after it
        let (start, batch) = (Barrier::new(2), (0..400).map(|key| (1_000_000 + key, Op::Put(round))).collect());
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                store.commit(batch).unwrap();
            });
            start.wait();
            store.discard().unwrap();
        });
        assert_eq!(store.get(&round).unwrap(), None, "round {round}");
        let left = store.range(1_000_000..).count();
        assert!(left == 0 || left == 400, "a batch is discarded as a whole");
        store.discard().unwrap();
    }
}

/// Many threads count in one shared counter each of their own key, over flushes: nothing is lost, nothing counted twice.
#[test]
fn counters_survive_flushes_by_everybody() {
    let store = Arc::new(Store::new(Faulty::new(Mem::new())).unwrap());
    let threads: Vec<_> = (0..4)
        .map(|key| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for round in 0..500 {
                    let count = store.get(&key).unwrap().unwrap_or(0);
                    store.set(key, count + 1);
                    if round % 16 == key {
                        store.parent().fail(Call::Commit, 1);
                    }
                    if round % 4 == key {
                        let _ = store.flush();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    while store.flush().is_err() {} // failures that are still planned
    let expected: Vec<_> = (0..4).map(|key| (key, 500)).collect();
    assert_eq!(entries(store.range(..)), expected);
    assert_eq!(entries(store.parent().store().snapshot().unwrap().range(..)), expected);
}
