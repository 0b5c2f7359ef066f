//! The blocks that a shard has at hand.

use super::block_view::BlockView;
use super::message::{BlockKey, ShardFailure};
use super::transport::Peer;
use crate::executor::{CancelToken, Elsewhere};
use crate::kv::{Key, Value};
use crate::sync::{Arc, Condvar, Mutex};
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Instant;

/// How a block is ended early: what was first said of it stays.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    why: Mutex<Option<ShardFailure>>,
    pub(crate) cancel: CancelToken,
}

impl Switch {
    pub(crate) fn throw(&self, why: ShardFailure) {
        self.why.lock().get_or_insert(why);
        self.cancel.cancel();
    }

    pub(crate) fn why(&self) -> Option<ShardFailure> {
        self.why.lock().clone()
    }
}

/// One block of one coordinator, from its beginning to its end: whatever comes for it finds this, or nothing.
#[derive(Debug)]
pub(crate) struct LiveBlock<K: Key, V: Value, O = Infallible> {
    pub(crate) key: BlockKey,
    pub(crate) peer: Peer,
    pub(crate) deadline: Instant,
    pub(crate) view: Arc<BlockView>,
    pub(crate) elsewhere: Elsewhere<K, V, O>,
    pub(crate) switch: Arc<Switch>,
}

impl<K: Key, V: Value, O> LiveBlock<K, V, O> {
    /// Ends it: nothing waits for it any longer, and its run returns as soon as its transactions do.
    pub(crate) fn end(&self, why: ShardFailure) {
        self.switch.throw(why);
        self.view.close();
    }
}

/// Why a block is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It, or a later one, has been taken before.
    Stale,
    /// There are as many as there may be.
    Busy,
    /// The shard takes no more.
    Leaving,
    /// The shard is stopping.
    Closed,
}

type Live<K, V, O> = Arc<LiveBlock<K, V, O>>;

/// The live blocks by their keys.
#[derive(Debug)]
pub(crate) struct Registry<K: Key, V: Value, O = Infallible> {
    state: Mutex<State<K, V, O>>,
    /// Told when there is none any more.
    emptied: Condvar,
}

#[derive(Debug)]
struct State<K: Key, V: Value, O> {
    open: bool,
    /// Whether it takes no more, though those that are there may come to their end.
    leaving: bool,
    live: HashMap<BlockKey, Live<K, V, O>>,
    /// The newest block that each peer has begun.
    newest: HashMap<Peer, BlockKey>,
}

impl<K: Key, V: Value, O> Registry<K, V, O> {
    pub(crate) fn new() -> Self {
        let state = State { open: true, leaving: false, live: HashMap::new(), newest: HashMap::new() };
        Self { state: Mutex::new(state), emptied: Condvar::default() }
    }

    /// Takes `block`. A peer has one block at a time: an earlier one is ended, as called off.
    pub(crate) fn take(&self, block: &Live<K, V, O>, most: usize) -> Result<(), NotTaken> {
        let superseded: Vec<_> = {
            let mut state = self.state.lock();
            if !state.open {
                return Err(NotTaken::Closed);
            }
            if state.leaving {
                return Err(NotTaken::Leaving);
            }
            let newest = state.newest.get(&block.peer);
            if newest.is_some_and(|newest| newest.session == block.key.session && *newest >= block.key) {
                return Err(NotTaken::Stale);
            }
            let others = state.live.values().filter(|other| other.peer != block.peer).count();
            if others >= most {
                return Err(NotTaken::Busy);
            }
            state.newest.insert(block.peer, block.key);
            let superseded = state.remove_all_of(block.peer);
            state.live.insert(block.key, Arc::clone(block));
            superseded
        };
        superseded.iter().for_each(|block| block.end(ShardFailure::Aborted));
        Ok(())
    }

    pub(crate) fn get(&self, key: &BlockKey) -> Option<Live<K, V, O>> {
        self.state.lock().live.get(key).cloned()
    }

    /// Lets go of a block that is over.
    pub(crate) fn remove(&self, key: &BlockKey) {
        let empty = {
            let mut state = self.state.lock();
            state.live.remove(key);
            state.live.is_empty()
        };
        if empty {
            self.emptied.notify_all();
        }
    }

    /// Takes no more; those that are there go on.
    pub(crate) fn leave(&self) {
        self.state.lock().leaving = true;
    }

    /// Waits until there is none; false at the deadline.
    pub(crate) fn wait_empty(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.live.is_empty() {
            if self.emptied.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.live.is_empty()
    }

    /// Ends every block of a peer, which is gone.
    pub(crate) fn end_all_of(&self, peer: Peer) {
        let gone = {
            let mut state = self.state.lock();
            state.newest.remove(&peer);
            state.remove_all_of(peer)
        };
        self.emptied.notify_all();
        gone.iter().for_each(|block| block.end(ShardFailure::Aborted));
    }

    /// Ends every block, and takes no more.
    pub(crate) fn close(&self) {
        let gone: Vec<_> = {
            let mut state = self.state.lock();
            state.open = false;
            state.live.drain().map(|(_, block)| block).collect()
        };
        self.emptied.notify_all();
        gone.iter().for_each(|block| block.end(ShardFailure::Aborted));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().live.len()
    }
}

impl<K: Key, V: Value, O> State<K, V, O> {
    fn remove_all_of(&mut self, peer: Peer) -> Vec<Live<K, V, O>> {
        let theirs: Vec<_> = self.live.values().filter(|block| block.peer == peer).map(|block| block.key).collect();
        theirs.iter().filter_map(|key| self.live.remove(key)).collect()
    }
}
