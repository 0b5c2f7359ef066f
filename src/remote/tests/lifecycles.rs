//! Starting and stopping: in any order, from anywhere, at any moment; and nothing stays behind.
//!
//! The story: a remote executor's shutdown signalled one of its parts, and its threads, whose handles had been dropped, waited
//! on for channels whose other ends were kept elsewhere. A second shutdown panicked; a second start found half of it gone; a
//! drop without shutdown waited for ever. Each test below is one way into it.

use super::puppet::*;
use crate::executor::Vm;
use crate::kv::{KvStore, MemStore};
use crate::multiversion::{NoMerge, TxView, ViewError};
use crate::remote::message::{ToCoordinator, ToShard};
use crate::remote::{
    Access, AttemptError, BlockOptions, Faults, Network, RemoteError, Shard, ShardConfig, StartError, TransportError,
};
use crate::sync::{AtomicBool, Ordering};
use bytes::Bytes;
use std::sync::Arc;

use std::time::{Duration, Instant};

/// The threads and open files of this process.
fn held() -> (usize, usize) {
    let count = |of: &str| std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count();
    (count("task"), count("fd"))
}

/// In a process of its own, where nobody else starts threads.
#[test]
#[cfg(target_os = "linux")]
fn a_thousand_starts_and_stops_leave_nothing() {
    let name = "remote::tests::lifecycles::starts_and_stops_alone";
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--test-threads", "1", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(alone.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&alone.stderr));
}

#[test]
#[ignore = "run by the one above, in a process of its own"]
fn starts_and_stops_alone() {
    let before = held();
    let network = Network::new(1, Faults::default());
    for round in 0..1000 {
        let shard = shard(&network, 1, LONG);
        let cluster = cluster(&network, 0, &[1], LONG);
        if round % 3 == 0 {
            assert_eq!(cluster.handle().shards_up(1, within(LONG)), [0]);
        }
        if round % 2 == 0 {
            assert_eq!(shard.shutdown(within(LONG)), Ok(()));
            assert_eq!(cluster.handle().shutdown(within(LONG)), Ok(()));
        }
        // Else they are dropped as they are; the addresses can be used again at once.
    }
    until(|| held().0 <= before.0 && held().1 <= before.1);
}

#[test]
fn an_address_that_is_taken_is_an_error_and_leaves_nothing() {
    let network = Network::new(1, Faults::default());
    let first = shard(&network, 1, LONG);
    let config = ShardConfig { threads: 1, ..ShardConfig::default() };
    let second = Shard::start(Counting, network.transport(1), config);
    let Err(StartError::Transport(TransportError::Listen { address, .. })) = second else { panic!("{second:?}") };
    assert_eq!(address, "1");
    assert_eq!(first.shutdown(within(LONG)), Ok(()));
}

#[test]
fn stopping_twice_and_from_many_threads_at_once_is_stopping() {
    let network = Network::new(1, Faults::default());
    let (shard, cluster) = (shard(&network, 1, LONG), cluster(&network, 0, &[1], LONG));
    let handle = cluster.handle();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(shard.shutdown(within(LONG)), Ok(())));
            scope.spawn(|| assert_eq!(handle.shutdown(within(LONG)), Ok(())));
        }
    });
    assert_eq!((shard.shutdown(within(LONG)), handle.shutdown(within(LONG))), (Ok(()), Ok(())));
    assert_eq!(handle.shards_up(1, within(LONG)), [0; 0], "nobody waits for a shard any more");
}

/// A block under way when its coordinator stops ends, with words.
#[test]
fn a_block_under_way_ends_with_its_coordinator() {
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1], LONG);
    let shard = Puppet::<ToShard>::new(&network, 1, &[]);
    assert_eq!(cluster.handle().shards_up(1, within(LONG)), [0]);
    let handle = cluster.handle();
    let stopper = std::thread::spawn(move || {
        shard.hear(|message| matches!(message, ToShard::Begin(_)).then_some(()));
        assert_eq!(handle.shutdown(within(LONG)), Ok(()));
        shard.hear(|message| matches!(message, ToShard::Abort(_)).then_some(())); // its last word
    });
    let base = MemStore::<u8, u64>::new().snapshot().unwrap();
    let result = cluster.execute(&base, &[Bytes::new()], &[Access::default()], BlockOptions::default());
    assert!(matches!(result, Err(RemoteError::Attempt(AttemptError::Stopped))), "{result:?}");
    stopper.join().unwrap();
    let result = cluster.execute(&base, &[Bytes::new()], &[Access::default()], BlockOptions::default());
    assert!(matches!(result, Err(RemoteError::Attempt(AttemptError::NoShards | AttemptError::Stopped))), "{result:?}");
}

/// A shard that is stopped in the middle of a read, or while it waits for another shard's outcome, stops.
#[test]
fn a_shard_stops_in_the_middle_of_a_wait() {
    for others in [&[][..], &[(0, &[5_u8][..])]] {
        let network = Network::new(1, Faults::default());
        let shard = shard(&network, 1, LONG);
        let coordinator = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
        talking(&shard, 1);
        coordinator.say(1, &ToShard::Begin(Box::new(begin(block_key(1), &[(1, &[5])], others))));
        until(|| shard.counts().begun == 1 && (!others.is_empty() || shard.counts().fetched == 1));
        let began = Instant::now();
        assert_eq!(shard.shutdown(within(LONG)), Ok(()));
        assert!(began.elapsed() < LONG);
        assert_eq!((shard.blocks(), shard.counts().failed), (0, 1));
    }
}

/// Says that it has begun, waits until it is let go, and asks nobody meanwhile.
struct Stubborn {
    has_begun: Arc<AtomicBool>,
    let_go: Arc<AtomicBool>,
}

impl Vm for Stubborn {
    type Key = u8;
    type Value = u64;
    type Merge = NoMerge;
    type Transaction = Bytes;
    type Output = u64;
    type Error = ViewError;
    fn execute(&self, _: &Bytes, _: &TxView<'_, u8, u64>) -> Result<u64, ViewError> {
        self.has_begun.store(true, Ordering::Relaxed);
        while !self.let_go.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        Ok(0)
    }
}

/// A transaction that neither reads nor returns is not waited for beyond the time given, and cannot be stopped: that is told, by
/// the thread's name, and may be asked again.
#[test]
fn a_thread_that_does_not_end_is_named() {
    let network = Network::new(1, Faults::default());
    let (has_begun, let_go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let stubborn = Stubborn { has_begun: Arc::clone(&has_begun), let_go: Arc::clone(&let_go) };
    let config = ShardConfig { threads: 1, link: link(LONG), ..ShardConfig::default() };
    let shard = Shard::start(stubborn, network.transport(1), config).unwrap();
    let coordinator = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
    talking(&shard, 1);
    coordinator.say(1, &ToShard::Begin(Box::new(begin(block_key(1), &[(0, &[5])], &[]))));
    until(|| has_begun.load(Ordering::Relaxed));
    assert!(!shard.drain(within(Duration::from_millis(30))), "its block is under way");
    let still = shard.shutdown(within(Duration::from_millis(30))).unwrap_err();
    assert_eq!(still.threads, ["cachekv-shard-run"]);
    let_go.store(true, Ordering::Relaxed);
    assert_eq!(shard.shutdown(within(LONG)), Ok(()));
}

/// Stopping from inside a call of the hook: from the very thread that executes.
#[test]
fn a_hook_may_stop_its_coordinator() {
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1], LONG);
    let _shard = shard(&network, 1, LONG);
    assert_eq!(cluster.handle().shards_up(1, within(LONG)), [0]);
    let handle = cluster.handle();
    let mut hook = |_: crate::executor::Commit<'_, u8, u64, u64>| {
        assert_eq!(handle.shutdown(within(LONG)), Ok(()));
        std::ops::ControlFlow::Continue(())
    };
    let options = BlockOptions { on_commit: Some(&mut hook), ..BlockOptions::default() };
    let base = MemStore::from_iter([(5, 50)]).snapshot().unwrap();
    let access = [Access { reads: vec![5], writes: vec![5] }];
    let done = cluster.execute(&base, &[Bytes::from_static(&[5])], &access, options).unwrap();
    assert_eq!(done.output.outputs, [50], "the block was over");
}
