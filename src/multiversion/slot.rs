//! The slot of a key: its version chain behind a lock, its base value read once, and who has read it.
//!
//! **A key that nobody writes is read without a lock, and without a write**: most that transactions share are such, and whatever
//! one core writes there the next has to fetch from it. It answers as the state below does for as long as it is not listed.

use super::chain::{Chain, Operands, Origin, Top, Unanswered, Unresolved, Write};
use super::frontier::Frontier;
use super::{MergeOperator, TxIndex, Version};
use crate::kv::{self, DynRead, Key, KvRead, Op, Value};
use crate::sync::{AtomicBool, AtomicU32, Mutex, OnceLock, Ordering, RwLock};

/// What a block knows of one key. A slot is made at the key's first read or write and lives as long as the block.
///
/// What a reader of an unwritten key needs lies together, at the end, apart from what changes.
#[repr(C)]
pub(crate) struct Slot<K, V, O> {
    /// Held for a look or a change, never while the base is read.
    chain: RwLock<Chain<V, O>>,
    /// Held while the base is read, so that it is read once; only those who need that value wait.
    loading: Mutex<()>,
    /// The value before the block, once somebody has read it: `Some(None)` is a key that does not exist there.
    base: OnceLock<Option<V>>,
    key: K,
    /// Whether it has, or is about to have, a version: whether there is more to look at than the base. Never taken back.
    listed: AtomicBool,
    /// More than the highest transaction that has read the key, 0 if none has: whom a write here may concern.
    readers_end: AtomicU32,
    /// When it last changed in a way that a reader may notice, 0 if never; see [`Frontier`].
    changed: AtomicU32,
}

/// How many transactions share a note that one of them has read a key; a power of two. A note is a write, and whoever reads the
/// key next pays for it.
const NOTED: TxIndex = if cfg!(any(kv_loom, kv_shuttle)) { 1 } else { 64 };

/// Why a slot could not answer.
#[derive(Debug)]
pub(crate) enum Unread {
    Estimate(TxIndex),
    Base(kv::Error),
}

/// A merge whose operand is not admitted over what lies below it.
#[derive(Debug)]
pub(crate) enum Unsettled<K> {
    Refused(K),
    Base(kv::Error),
}

impl<K: Key, V: Value, O: Clone> Slot<K, V, O> {
    pub(crate) fn new(key: K) -> Self {
        Self {
            chain: RwLock::new(Chain::default()),
            loading: Mutex::new(()),
            base: OnceLock::new(),
            key,
            listed: AtomicBool::new(false),
            readers_end: AtomicU32::new(0),
            changed: AtomicU32::new(0),
        }
    }

    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// What a transaction at `below` reads here.
    pub(crate) fn read<M>(&self, below: TxIndex, base: &DynRead<K, V>) -> Result<(Origin, Option<V>), Unread>
    where
        M: MergeOperator<K, V, Operand = O>,
    {
        let mut known = self.base.get();
        if let (false, Some(base)) = (self.is_listed(), known) {
            return Ok((Origin::Base, base.clone()));
        }
        loop {
            let answer = self.chain.read().read::<K, M>(&self.key, below, known);
            match answer {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Estimate(tx)) => return Err(Unread::Estimate(tx)),
                // Then once more from the top: a version may have come meanwhile.
                Err(Unanswered::BaseUnread) => known = Some(self.base(base).map_err(Unread::Base)?),
            }
        }
    }

    /// What a transaction at `below` meets first here.
    pub(crate) fn top(&self, below: TxIndex) -> Top {
        if self.is_listed() { self.chain.read().top(below) } else { Top::Nothing }
    }

    /// Whether the key exists for a transaction at `below`, and by whose doing. Operands are not resolved: a key with
    /// operands exists.
    pub(crate) fn exists(&self, below: TxIndex, base: &DynRead<K, V>) -> Result<(Origin, bool), Unread> {
        match self.top(below) {
            Top::Present(origin) => Ok((origin, true)),
            Top::Deleted(version) => Ok((Origin::Version(version), false)),
            Top::Estimate(tx) => Err(Unread::Estimate(tx)),
            Top::Nothing => self.base(base).map(|value| (Origin::Base, value.is_some())).map_err(Unread::Base),
        }
    }

    /// The base value, if somebody has read it before there were slots.
    pub(crate) fn know_base(&self, value: Option<V>) {
        drop(self.base.set(value)); // the first: nobody else is there yet
    }

    /// The value before the block.
    pub(crate) fn base(&self, base: &DynRead<K, V>) -> Result<&Option<V>, kv::Error> {
        loop {
            if let Some(known) = self.base.get() {
                return Ok(known);
            }
            let _one = self.loading.lock();
            if self.base.get().is_none() {
                drop(self.base.set(base.get(&self.key)?)); // the first: the lock is held
            }
        }
    }

    /// Notes that the transaction `tx` is about to read the key, and that some after it may.
    ///
    /// Relaxed, because the chain's lock orders it: a reader notes itself before it locks the chain, a writer asks after
    /// it has locked it. If the reader missed the write, its lock came first, and the writer sees the note. Of a reader that
    /// takes no lock the first to write may miss the note: then nobody aborts it early, and its check at commit finds it.
    pub(crate) fn note_reader(&self, tx: TxIndex) {
        if self.readers_end.load(Ordering::Relaxed) <= tx {
            self.readers_end.fetch_max((tx | (NOTED - 1)).saturating_add(1), Ordering::Relaxed);
        }
    }

    /// More than the highest transaction that may have read the key before the last write to it.
    pub(crate) fn readers_end(&self) -> TxIndex {
        self.readers_end.load(Ordering::Relaxed)
    }

    /// Whether it may have versions. Relaxed: who finds it listed and writes does so behind the first writer's fence, his or
    /// another's, and the fence is what makes the release in [`set_listed`](Self::set_listed) his, so that who sees his version
    /// finds the entry in the directory.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Relaxed)
    }

    /// Whether it had not been listed.
    pub(crate) fn set_listed(&self) -> bool {
        !self.listed.swap(true, Ordering::Release)
    }

    /// Whether it may have changed after somebody who looked at it since `moment`, or what he saw there may have come
    /// after `moment`. Relaxed: see [`Frontier`].
    pub(crate) fn changed_since(&self, moment: TxIndex) -> bool {
        self.changed.load(Ordering::Relaxed) > moment
    }

    pub(crate) fn put(&self, version: Version, write: Option<Write<V, O>>, frontier: &Frontier) {
        let mut chain = self.chain.write();
        if self.changed.load(Ordering::Relaxed) == 0 {
            frontier.first_change(); // there may be readers that took no lock
        }
        self.changed.store(frontier.next_moment(), Ordering::Relaxed); // under the lock, see `Frontier`
        chain.put(version, write);
    }

    /// Makes the write of `tx` an estimate. No moment: who meets an estimate gets no answer.
    pub(crate) fn estimate(&self, tx: TxIndex) {
        self.chain.write().estimate(tx);
    }

    pub(crate) fn remove_stale(&self, version: Version, frontier: &Frontier) {
        let mut chain = self.chain.write();
        self.changed.store(frontier.next_moment(), Ordering::Relaxed);
        chain.remove_stale(version);
    }

    /// Removes the estimate that was predicted of `tx`. No moment: while it stood nobody had an answer.
    pub(crate) fn remove(&self, tx: TxIndex) {
        self.chain.write().remove(tx);
    }

    /// What `operands`, given by `tx`, make of the value below it.
    pub(crate) fn resolve<M>(
        &self,
        tx: TxIndex,
        operands: &Operands<O>,
        base: &DynRead<K, V>,
    ) -> Result<Option<V>, Unsettled<K>>
    where
        M: MergeOperator<K, V, Operand = O>,
    {
        let mut before = self.base.get();
        loop {
            match self.chain.read().resolve::<K, M>(&self.key, tx, operands, before) {
                Ok(value) => return Ok(value),
                Err(Unresolved::Unanswered(Unanswered::BaseUnread)) => {}
                // Nothing below a transaction at the frontier is an estimate; were it so, to run it again would be right.
                Err(Unresolved::Refused | Unresolved::Unanswered(Unanswered::Estimate(_))) => {
                    return Err(Unsettled::Refused(self.key.clone()));
                }
            }
            before = Some(self.base(base).map_err(Unsettled::Base)?);
        }
    }

    /// Turns the operands of `tx` into `value`.
    pub(crate) fn settle(&self, tx: TxIndex, value: V) {
        self.chain.write().settle(tx, value);
    }

    /// What the transactions below `end` made of the key, if they wrote it.
    pub(crate) fn outcome(&self, end: TxIndex) -> Option<Op<V>> {
        self.chain.read().outcome(end)
    }
}
