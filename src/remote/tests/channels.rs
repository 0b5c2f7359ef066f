//! Shards and coordinators that go away, at each step of a block.
//!
//! The story: in a remote executor one network error panicked the task that sent for everybody; every later send, on every
//! thread, then panicked on a closed channel, one of them under a lock that it poisoned; and the coordinator waited for the
//! results of a dead shard for ever. Where it did not, it returned at the first failing shard and left the others' results in
//! their channels, for the next block to take for its own. Each test below is one way into it.

use super::puppet::*;
use crate::kv::{KvRead, KvStore, MemSnapshot, MemStore};
use crate::remote::message::{
    Begin, BlockKey, Done, Executed, Failed, Fetch, Outcome, Resolved, ShardFailure, ToCoordinator, ToShard,
};
use crate::remote::{
    Access, AttemptError, BlockOptions, Cluster, Coded, Faults, How, Network, RemoteError, RemoteResult,
};
use bytes::Bytes;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(150);

fn base() -> MemSnapshot<u8, u64> {
    MemStore::from_iter((0..=255).map(|key| (key, 10 * u64::from(key)))).snapshot().unwrap()
}

/// Each transaction over its own key and key 201.
fn block(len: u8) -> (Vec<Bytes>, Vec<Access<u8>>) {
    let transactions = (0..len).map(|key| Bytes::from(vec![key, 201])).collect();
    (transactions, (0..len).map(|key| Access { reads: vec![key, 201], writes: vec![key] }).collect())
}

fn outputs(len: u8) -> Vec<u64> {
    (0..len).map(|key| 10 * u64::from(key) + 2010).collect()
}

fn run(cluster: &mut Cluster<Counting>, len: u8, time: Duration) -> RemoteResult<Counting> {
    let (transactions, accesses) = block(len);
    let options = BlockOptions { within: time, attempts: 1, ..BlockOptions::default() };
    cluster.execute(&base(), &transactions, &accesses, options)
}

/// What a puppet of a shard would answer if it were one.
fn honest(begin: &Begin) -> Done {
    let executed = begin.own.iter().map(|own| {
        let keys = &own.transaction;
        let output: u64 = keys.iter().map(|key| 10 * u64::from(*key)).sum();
        let writes = keys.iter().filter(|key| **key < 200);
        let writes = writes.map(|key| (key.encode(), Some((10 * u64::from(*key) + 1).encode()))).collect();
        Executed { place: own.place, output: output.encode(), writes }
    });
    Done { key: begin.key, executed: executed.collect(), executions: begin.own.len() as u64 }
}

fn heard_begin(puppet: &Puppet<ToShard>) -> Begin {
    puppet.hear(|message| if let ToShard::Begin(begin) = message { Some(*begin) } else { None })
}

/// The shard dies at each step: the error names it, within its time; and the next block is right without it.
#[test]
fn a_shard_that_dies_at_any_step_is_an_error_that_names_it() {
    for step in 0..5 {
        let network = Network::new(step, Faults::default());
        let mut cluster = cluster(&network, 0, &[1, 2], PATIENCE);
        let _alive = shard(&network, 1, LONG);
        let dying = Puppet::<ToShard>::new(&network, 2, &[]);
        assert_eq!(cluster.handle().shards_up(2, within(LONG)), [0, 1]);
        let death = std::thread::spawn(move || {
            if step == 0 {
                return dying.vanish(); // before the command, or just after
            }
            let begin = heard_begin(&dying);
            let fetch = Fetch { key: begin.key, request: 9, demand: false, keys: begin.pushed.concat() };
            if step >= 2 {
                dying.say(0, &ToCoordinator::Fetch(fetch)); // after its prefetch
            }
            if step >= 3 {
                dying.hear(|message| matches!(message, ToShard::Answer(_)).then_some(()));
            }
            if step >= 4 {
                let first = begin.own.first().map(|own| own.place).unwrap();
                let outcomes = vec![(first, vec![(Bytes::from(vec![first as u8]), Outcome::NotWritten)])];
                dying.say(0, &ToCoordinator::Resolved(Resolved { key: begin.key, outcomes })); // before its result
            }
            dying.vanish();
        });
        let began = Instant::now();
        let result = run(&mut cluster, 8, LONG);
        assert!(began.elapsed() < LONG, "step {step}");
        assert!(
            matches!(result, Err(RemoteError::Attempt(AttemptError::Lost { shard: 1 }))),
            "step {step}: {result:?}"
        );
        death.join().unwrap();
        let next = run(&mut cluster, 6, LONG).unwrap();
        assert_eq!((next.output.outputs, next.how), (outputs(6), How::Sharded { shards: 1, edges: 0 }), "step {step}");
    }
}

/// A shard that is frozen (it keeps its connection, and says nothing) is lost; thawed, it takes part again by itself.
#[test]
fn a_frozen_shard_is_lost_and_takes_part_again() {
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1, 2], PATIENCE);
    let _shards = [shard(&network, 1, PATIENCE), shard(&network, 2, PATIENCE)];
    assert_eq!(cluster.handle().shards_up(2, within(LONG)).len(), 2);
    network.freeze(2);
    let result = run(&mut cluster, 8, LONG);
    assert!(matches!(result, Err(RemoteError::Attempt(AttemptError::Lost { shard: 1 }))), "{result:?}");
    network.thaw(2);
    assert_eq!(cluster.handle().shards_up(2, within(LONG)).len(), 2);
    let next = run(&mut cluster, 8, LONG).unwrap();
    assert_eq!((next.output.outputs, next.how), (outputs(8), How::Sharded { shards: 2, edges: 0 }));
}

/// With leave to, the block is attempted again, without the shard that was lost: its hooks are called once.
#[test]
fn a_block_whose_shard_is_lost_may_be_attempted_again() {
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1, 2], PATIENCE);
    let _alive = shard(&network, 1, LONG);
    let dying = Puppet::<ToShard>::new(&network, 2, &[]);
    assert_eq!(cluster.handle().shards_up(2, within(LONG)).len(), 2);
    let death = std::thread::spawn(move || {
        let begin = heard_begin(&dying);
        let keys = begin.pushed.concat();
        dying.say(0, &ToCoordinator::Fetch(Fetch { key: begin.key, request: 9, demand: false, keys }));
        dying.vanish();
    });
    let (transactions, accesses) = block(8);
    let mut hooked = 0;
    let mut hook = |_: crate::executor::Commit<'_, u8, u64, u64>| {
        hooked += 1;
        std::ops::ControlFlow::Continue(())
    };
    let options = BlockOptions { on_commit: Some(&mut hook), ..BlockOptions::default() };
    let done = cluster.execute(&base(), &transactions, &accesses, options).unwrap();
    assert_eq!((done.output.outputs, done.how, hooked), (outputs(8), How::Sharded { shards: 1, edges: 0 }, 8));
    death.join().unwrap();
}

/// With leave to, the block is executed here instead.
#[test]
fn a_block_whose_shard_is_lost_may_be_executed_here() {
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1], PATIENCE);
    let dying = Puppet::<ToShard>::new(&network, 1, &[]);
    assert_eq!(cluster.handle().shards_up(1, within(LONG)), [0]);
    dying.vanish();
    let (transactions, accesses) = block(4);
    let options = BlockOptions { or_unsharded: true, attempts: 1, ..BlockOptions::default() };
    let done = cluster.execute(&base(), &transactions, &accesses, options).unwrap();
    assert_eq!(done.output.outputs, outputs(4));
    assert!(matches!(done.how, How::Unsharded { why: Some(AttemptError::Lost { shard: 0 }) }), "{:?}", done.how);
}

/// A peer that swallows everything holds up nobody else: its silence costs its own block, and the others' traffic goes on.
#[test]
fn a_black_hole_does_not_delay_others() {
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1, 2], LONG);
    let _shard = shard(&network, 1, LONG);
    let hole = Puppet::<ToShard>::new(&network, 2, &[]);
    assert_eq!(cluster.handle().shards_up(2, within(LONG)).len(), 2);
    network.cut(0, 2);
    // Shard 0 has done its share long before the time of the block is over; only the hole is named.
    let result = run(&mut cluster, 8, Duration::from_secs(2));
    let due = AttemptError::Deadline { waiting_for: vec![1] };
    assert!(matches!(&result, Err(RemoteError::Attempt(error)) if *error == due), "{result:?}");
    drop(hole);
}

/// The first report's sequel: shard 0 fails while shard 1 succeeds, and shard 1's result comes late. The next block has its
/// own outputs.
#[test]
fn a_result_of_the_failed_block_is_not_taken_for_the_next_ones() {
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1, 2], LONG);
    let (failing, late) = (Puppet::<ToShard>::new(&network, 1, &[]), Puppet::<ToShard>::new(&network, 2, &[]));
    assert_eq!(cluster.handle().shards_up(2, within(LONG)).len(), 2);
    let shards = std::thread::spawn(move || {
        let (first, other) = (heard_begin(&failing), heard_begin(&late));
        let why = ShardFailure::Malformed("as the test says".into());
        failing.say(0, &ToCoordinator::Failed(Failed { key: first.key, why }));
        let aborted = |message| if let ToShard::Abort(key) = message { Some(key) } else { None };
        assert_eq!([failing.hear(aborted), late.hear(aborted)], [first.key; 2], "both are told");
        let (again, next) = (heard_begin(&failing), heard_begin(&late));
        let mut stale = honest(&other);
        stale.executed.iter_mut().for_each(|executed| executed.output = 666_u64.encode());
        late.say(0, &ToCoordinator::Done(stale.clone()));
        failing.say(0, &ToCoordinator::Done(honest(&again)));
        failing.say(0, &ToCoordinator::Done(honest(&again)));
        late.say(0, &ToCoordinator::Done(honest(&next)));
        late.say(0, &ToCoordinator::Done(stale));
        (failing, late)
    });
    let result = run(&mut cluster, 8, LONG);
    let why = ShardFailure::Malformed("as the test says".into());
    let due = AttemptError::Failed { shard: 0, why };
    assert!(matches!(&result, Err(RemoteError::Attempt(error)) if *error == due), "{result:?}");
    assert_eq!(run(&mut cluster, 8, LONG).unwrap().output.outputs, outputs(8));
    drop(shards.join().unwrap());
    until(|| cluster.handle().counts().stale + cluster.handle().counts().repeated >= 3);
}

/// Results that are not those of the places asked for.
#[test]
fn a_result_that_does_not_fit_is_refused() {
    let wrong: [fn(&mut Done); 3] = [
        |done| drop(done.executed.pop()),
        |done| done.executed.iter_mut().for_each(|executed| executed.place += 1),
        |done| {
            let again = done.executed[0].clone();
            done.executed.insert(0, again);
        },
    ];
    for make_wrong in wrong {
        let network = Network::new(1, Faults::default());
        let mut cluster = cluster(&network, 0, &[1], LONG);
        let puppet = Puppet::<ToShard>::new(&network, 1, &[]);
        assert_eq!(cluster.handle().shards_up(1, within(LONG)), [0]);
        let puppet = std::thread::spawn(move || {
            let mut done = honest(&heard_begin(&puppet));
            make_wrong(&mut done);
            puppet.say(0, &ToCoordinator::Done(done));
            let done = honest(&heard_begin(&puppet));
            puppet.say(0, &ToCoordinator::Done(done));
            puppet
        });
        let result = run(&mut cluster, 3, LONG);
        let protocol =
            |error: &AttemptError| matches!(error, AttemptError::Failed { why: ShardFailure::Protocol(_), .. });
        assert!(matches!(&result, Err(RemoteError::Attempt(error)) if protocol(error)), "{result:?}");
        assert_eq!(run(&mut cluster, 3, LONG).unwrap().output.outputs, outputs(3));
        drop(puppet.join().unwrap());
    }
}

/// The coordinator dies at each step: the shard lets go of the block, and serves the next coordinator.
#[test]
fn a_coordinator_that_dies_at_any_step_leaves_a_shard_that_serves() {
    for step in 0..4 {
        let network = Network::new(step, Faults::default());
        let shard = shard(&network, 1, PATIENCE);
        let dying = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
        talking(&shard, 1);
        if step >= 1 {
            dying.say(1, &ToShard::Begin(Box::new(begin(block_key(1), &[(1, &[5])], &[(0, &[6])]))));
            let fetch =
                dying.hear(|message| if let ToCoordinator::Fetch(fetch) = message { Some(fetch) } else { None });
            if step >= 2 {
                let values = vec![(fetch.keys[0].clone(), Ok(None))];
                let answer = crate::remote::message::Answer { key: block_key(1), request: fetch.request, values };
                dying.say(1, &ToShard::Answer(answer));
            }
            if step >= 3 {
                let outcomes = vec![(0, vec![(6_u8.encode(), Outcome::NotWritten)])];
                dying.say(1, &ToShard::Resolved(Resolved { key: block_key(1), outcomes }));
                dying.hear(|message| matches!(message, ToCoordinator::Done(_)).then_some(()));
            }
        }
        dying.vanish();
        until(|| shard.blocks() == 0 && shard.counts().downs == 1);
        let mut cluster = cluster(&network, 3, &[1], LONG);
        assert_eq!(cluster.handle().shards_up(1, within(LONG)), [0], "step {step}");
        assert_eq!(run(&mut cluster, 5, LONG).unwrap().output.outputs, outputs(5), "step {step}");
    }
}

/// A key that is declared to be written across shards, and is not: its reader waits for no longer than that takes.
#[test]
fn a_declared_write_that_does_not_happen_holds_up_nobody() {
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1, 2], LONG);
    let _shards = [shard(&network, 1, LONG), shard(&network, 2, LONG)];
    assert_eq!(cluster.handle().shards_up(2, within(LONG)).len(), 2);
    // Key 7 is said to be written by every transaction, and is read by every one, and is written by none.
    let transactions: Vec<_> = (0..8_u8).map(|key| Bytes::from(vec![key, 207])).collect();
    let accesses: Vec<_> = (0..8).map(|key| Access { reads: vec![key, 207], writes: vec![key, 207] }).collect();
    let done = cluster.execute(&base(), &transactions, &accesses, BlockOptions::default()).unwrap();
    let due: Vec<u64> = (0..8).map(|key| 10 * key + 2070).collect();
    assert_eq!(done.output.outputs, due);
    assert!(matches!(done.how, How::Sharded { shards: 2, edges } if edges > 0), "{:?}", done.how);
}

/// A write across shards that was not declared: found, and the block is executed here, with the right result and hooks that
/// are called once.
#[test]
fn an_undeclared_write_or_read_is_found() {
    for undeclared in ["write", "read"] {
        let network = Network::new(1, Faults::default());
        let mut cluster = cluster(&network, 0, &[1, 2], LONG);
        let _shards = [shard(&network, 1, LONG), shard(&network, 2, LONG)];
        assert_eq!(cluster.handle().shards_up(2, within(LONG)).len(), 2);
        // All of them add to key 9; one of them does not say so, or that it reads it.
        let transactions: Vec<_> = (0..8_u8).map(|key| Bytes::from(vec![key, 9])).collect();
        let access = |key| Access { reads: vec![key, 9], writes: vec![key, 9] };
        let mut accesses: Vec<_> = (0..8).map(access).collect();
        if undeclared == "write" {
            accesses[3].writes.pop();
        } else {
            // Key 9 is written on the other shard alone, as far as is declared.
            for access in &mut accesses[4..] {
                *access = Access { reads: vec![access.reads[0]], writes: vec![access.writes[0]] };
            }
        }
        let mut hooked = 0;
        let mut hook = |_: crate::executor::Commit<'_, u8, u64, u64>| {
            hooked += 1;
            std::ops::ControlFlow::Continue(())
        };
        let options = BlockOptions { on_commit: Some(&mut hook), ..BlockOptions::default() };
        let done = cluster.execute(&base(), &transactions, &accesses, options).unwrap();
        let due: Vec<u64> = (0..8).map(|key| 10 * key + 90 + key).collect();
        assert_eq!((done.output.outputs, hooked), (due, 8), "{undeclared}");
        let why = |why: &ShardFailure| matches!(why, ShardFailure::Undeclared { key, .. } if key == "9");
        let found = matches!(&done.how, How::Unsharded { why: Some(AttemptError::Failed { why: w, .. }) } if why(w));
        assert!(found, "{undeclared}: {:?}", done.how);
        assert_eq!(cluster.handle().counts().unsharded, 1);
    }
}

/// What a shard cannot understand is refused with words, and does it no harm.
#[test]
fn a_share_that_makes_no_sense_is_refused() {
    let network = Network::new(1, Faults::default());
    let shard = shard(&network, 1, LONG);
    let coordinator = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
    talking(&shard, 1);
    let right = |block| begin(block_key(block), &[(1, &[5]), (2, &[6])], &[(0, &[5])]);
    let wrong: [fn(&mut Begin); 9] = [
        |begin| begin.pushed = vec![vec![]; 1 << 17],
        |begin| begin.places = u32::MAX,
        |begin| begin.places = 1,
        |begin| begin.own.reverse(),
        |begin| begin.own.clear(),
        |begin| begin.others = vec![(1, vec![])],
        |begin| begin.others = vec![(9, vec![])],
        |begin| begin.own[0].told = vec![77],
        |begin| begin.own[0].writes = vec![Bytes::from_static(b"no key of one byte")],
    ];
    for (block, make_wrong) in (1..).zip(wrong) {
        let mut share = right(block);
        make_wrong(&mut share);
        coordinator.say(1, &ToShard::Begin(Box::new(share)));
        let failed = |message| if let ToCoordinator::Failed(failed) = message { Some(failed) } else { None };
        let failed = coordinator.hear(failed);
        assert!(matches!(failed.why, ShardFailure::Malformed(_)), "{block}: {failed:?}");
        assert_eq!(failed.key, block_key(block));
    }
    coordinator.say(1, &ToShard::Begin(Box::new(right(20))));
    coordinator.say(1, &ToShard::Abort(block_key(20)));
    let failed =
        coordinator.hear(|message| if let ToCoordinator::Failed(failed) = message { Some(failed) } else { None });
    assert_eq!(failed, Failed { key: block_key(20), why: ShardFailure::Aborted });
    until(|| shard.blocks() == 0);
    coordinator.say(1, &ToShard::Begin(Box::new(right(1))));
    coordinator.say(1, &ToShard::Abort(BlockKey::default()));
    until(|| shard.counts().stale == 2);
    assert!(coordinator.hears_no(|message| matches!(message, ToCoordinator::Done(_) | ToCoordinator::Failed(_))));
}

/// A snapshot that cannot be read fails the block here as it would unsharded.
#[test]
fn the_bases_own_error_is_the_blocks_own_error() {
    fn unreadable<S: KvRead<Key = u8>>(result: &RemoteResult<Counting>, _: &S) -> bool {
        matches!(result, Err(RemoteError::Block(error)) if matches!(error.cause, crate::executor::Cause::Base { .. }))
    }
    #[derive(Clone)]
    struct Unreadable(MemSnapshot<u8, u64>);
    impl KvRead for Unreadable {
        type Key = u8;
        type Value = u64;
        type Iter = crate::kv::MemIter<u8, u64>;
        type Root = Self;
        fn get(&self, key: &u8) -> Result<Option<u64>, crate::kv::Error> {
            match key {
                3 => Err(crate::kv::Error::Read { store: "it".into(), source: std::sync::Arc::new(std::fmt::Error) }),
                key => self.0.get(key),
            }
        }
        fn scan(&self, range: crate::kv::KeyRange<u8>) -> Self::Iter {
            self.0.scan(range)
        }
        fn root(&self) -> &Self {
            self
        }
    }
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1], LONG);
    let _shard = shard(&network, 1, LONG);
    assert_eq!(cluster.handle().shards_up(1, within(LONG)), [0]);
    let (transactions, accesses) = block(8);
    let base = Unreadable(base());
    let result = cluster.execute(&base, &transactions, &accesses, BlockOptions::default());
    assert!(unreadable(&result, &base), "{result:?}");
    assert_eq!(run(&mut cluster, 8, LONG).unwrap().output.outputs, outputs(8));
}
