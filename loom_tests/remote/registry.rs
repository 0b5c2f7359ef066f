//! The registry: a block that is taken is ended by whoever ends all of its peer's, or all.

use super::view::{reading, watched};
use crate::executor::Elsewhere;
use crate::loom_tests::explore;
use crate::remote::block_view::ViewFailure;
use crate::remote::live::{LiveBlock, NotTaken, Registry, Switch};
use crate::remote::message::{BlockKey, ShardFailure};
use crate::remote::transport::Peer;
use crate::sync::Arc;
use loom::thread;
use std::time::Instant;

pub(super) type Blocks = Arc<Registry<u8, u8>>;

pub(super) fn block(number: u64) -> Arc<LiveBlock<u8, u8>> {
    Arc::new(LiveBlock {
        key: BlockKey { session: 1, block: number, attempt: 0 },
        peer: Peer(1),
        deadline: Instant::now(),
        view: watched().view,
        elsewhere: Elsewhere::new([]),
        switch: Arc::new(Switch::default()),
    })
}

/// The registry closes while a block is taken: it is refused, or ended; and its reader leaves in either case.
#[test]
fn a_block_taken_while_all_end_is_refused_or_ended() {
    explore(|| {
        let registry: Blocks = Arc::new(Registry::new());
        let closes = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || registry.close())
        };
        let block = block(1);
        match registry.take(&block, 8) {
            Ok(()) => {
                let reader = reading(&block.view);
                assert_eq!(reader.join().unwrap(), Err(ViewFailure::Closed));
                assert!(block.switch.why().is_some() && block.switch.cancel.is_cancelled());
            }
            Err(refused) => assert_eq!(refused, NotTaken::Closed),
        }
        closes.join().unwrap();
        assert_eq!(registry.len(), 0);
    });
}

/// A later block of the same peer ends the one before, whichever way the two come in.
#[test]
fn a_peer_has_one_block_at_a_time() {
    explore(|| {
        let registry: Blocks = Arc::new(Registry::new());
        let (first, second) = (block(1), block(2));
        let takes = {
            let (registry, second) = (Arc::clone(&registry), Arc::clone(&second));
            thread::spawn(move || registry.take(&second, 8))
        };
        let taken = registry.take(&first, 8);
        assert_eq!(takes.join().unwrap(), Ok(()));
        match taken {
            Ok(()) => assert!(first.switch.why().is_some(), "it goes on beside its successor"),
            Err(refused) => assert_eq!(refused, NotTaken::Stale),
        }
        assert!(registry.get(&second.key).is_some() && registry.get(&first.key).is_none());
        assert!(second.switch.why().is_none());
    });
}

/// A registry that takes no more, while its last block ends and another one comes: whoever waits for it to be empty leaves, and
/// nothing comes in after that.
#[test]
fn who_waits_for_the_last_block_leaves_when_it_has_ended() {
    explore(|| {
        let registry: Blocks = Arc::new(Registry::new());
        let (first, second) = (block(1), block(2));
        registry.take(&first, 8).unwrap();
        let ends = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || registry.remove(&first.key))
        };
        let comes = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || {
                if registry.take(&second, 8).is_ok() {
                    registry.remove(&second.key);
                }
            })
        };
        registry.leave();
        assert!(registry.wait_empty(Instant::now()));
        assert_eq!(registry.len(), 0);
        assert_eq!(registry.take(&block(3), 8), Err(NotTaken::Leaving));
        ends.join().unwrap();
        comes.join().unwrap();
        assert_eq!(registry.len(), 0, "it was let in after all");
    });
}

/// A peer goes while a block of its comes: the block is ended and nothing of it stays, or it came after.
#[test]
fn a_block_taken_while_its_peer_goes_is_ended_or_later() {
    explore(|| {
        let registry: Blocks = Arc::new(Registry::new());
        let block = block(1);
        let takes = {
            let (registry, block) = (Arc::clone(&registry), Arc::clone(&block));
            thread::spawn(move || registry.take(&block, 8))
        };
        registry.end_all_of(block.peer);
        assert_eq!(takes.join().unwrap(), Ok(()));
        match registry.get(&block.key) {
            Some(_) => assert!(block.switch.why().is_none()),
            None => {
                assert!(block.switch.why().is_some());
                assert_eq!(registry.take(&block, 8), Ok(()), "a peer that is gone has begun nothing");
            }
        }
    });
}

/// Whoever waits for the last block leaves when its peer goes.
#[test]
fn who_waits_for_the_last_block_leaves_when_its_peer_goes() {
    leaves_after(|registry| registry.end_all_of(Peer(1)));
}

/// The same when all blocks are ended.
#[test]
fn who_waits_for_the_last_block_leaves_when_all_end() {
    leaves_after(|registry| registry.close());
}

fn leaves_after(end: impl Fn(&Registry<u8, u8>) + Copy + Send + Sync + 'static) {
    explore(move || {
        let registry: Blocks = Arc::new(Registry::new());
        registry.take(&block(1), 8).unwrap();
        let ends = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || end(&registry))
        };
        assert!(registry.wait_empty(Instant::now()));
        ends.join().unwrap();
    });
}

/// Of two who end a block, the first says why, and whoever finds it called off finds why.
#[test]
fn who_finds_a_block_called_off_finds_why() {
    explore(|| {
        let switch = Arc::new(Switch::default());
        let throws = {
            let switch = Arc::clone(&switch);
            thread::spawn(move || switch.throw(ShardFailure::Deadline))
        };
        let found = switch.cancel.is_cancelled().then(|| switch.why().unwrap());
        switch.throw(ShardFailure::Aborted);
        throws.join().unwrap();
        assert!(found.is_none() || found == switch.why());
    });
}
