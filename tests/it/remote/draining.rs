//! A shard that is to stop: it waits for what it has under way, and for what that came to to have arrived.

use super::machine::{LET_GO, Machine, Script, State, Step, oracle};
use super::rig::{LONG, Rig, applied, options, within};
use cachekv::remote::{Faults, How, ShardFailure};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// While the line is cut nothing arrives, though all has been executed: it is not time to go. When the line is there again, the
/// block comes to its end.
#[test]
fn a_shard_waits_until_what_its_block_came_to_has_arrived() {
    let mut rig = Rig::new(Machine { keys: 8 }, 1, 1, Faults::default(), LONG);
    rig.ready();
    let block = vec![Script(vec![Step::Hold, Step::Set(1)])];
    let due = oracle(&State::new(), &block, 8);
    let (network, shard) = (rig.network.clone(), rig.shards.remove(0));
    let (result, _) = thread::scope(|scope| {
        scope.spawn(|| {
            let end = within(LONG);
            while shard.blocks() == 0 {
                assert!(Instant::now() < end, "the block does not begin");
                thread::yield_now();
            }
            network.cut(0, 1);
            LET_GO.store(true, Ordering::Relaxed);
            assert!(!shard.drain(within(Duration::from_millis(500))), "nobody has heard what the block came to");
            network.mend(0, 1);
            assert!(shard.drain(within(LONG)));
            assert_eq!((shard.blocks(), shard.counts().done), (0, 1));
        });
        rig.execute(&State::new(), &block, &due.accesses, options(LONG))
    });
    assert_eq!(applied(&State::new(), &result), due.state);
    assert_eq!(result.unwrap().how, How::Sharded { shards: 1, edges: 0 });
    // It is still there, and says no.
    let (result, _) = rig.execute(&State::new(), &block, &due.accesses, options(Duration::from_secs(5)));
    let error = result.unwrap_err().to_string();
    assert!(!error.contains(&ShardFailure::Leaving.to_string()), "that is between the two: {error}");
    assert!(error.contains("no shard"), "{error}");
}
