//! Transactions of the block that are executed elsewhere.

use super::effect::Effect;
use super::parking::Parking;
use crate::kv::{Key, Value};
use crate::multiversion::{Operands, TxIndex};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;

/// Places in the block whose transactions somebody else executes, and the keys each of them may write.
///
/// Until a key's outcome arrives by [`resolve`](Self::resolve), transactions after that place that read the key are put
/// aside, as for any value that is about to be written. A place commits once all its keys have arrived. What they wait for
/// there in turn is told them by [`telling`](Self::telling). Clones are the same: keep one, and give one to the block by
/// [`Options::elsewhere`](super::Options::elsewhere). Good for one block.
///
/// ```
/// use cachekv::executor::{BlockExecutor, Effect, Elsewhere, Options, Vm};
/// use cachekv::kv::{KvStore, MemStore, Op};
/// use cachekv::multiversion::{NoMerge, TxView, ViewError};
/// use std::sync::mpsc::channel;
///
/// /// Adds to key 0.
/// struct Count;
/// impl Vm for Count {
///     type Key = u32;
///     type Value = u64;
///     type Merge = NoMerge;
///     type Transaction = u64;
///     type Output = ();
///     type Error = ViewError;
///     fn execute(&self, amount: &u64, view: &TxView<'_, u32, u64>) -> Result<(), ViewError> {
///         view.set(0, view.get(&0)?.unwrap_or(0) + amount);
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Of a block of three, the first is executed elsewhere, where they wait for what the second does to key 0.
/// let (tell, told) = channel();
/// let places = Elsewhere::new([(0, vec![0])]).telling([(1, vec![0])], move |index, did| drop(tell.send((index, did))));
/// places.resolve(0, &0, Effect::Put(10))?;
/// let options = Options { elsewhere: Some(places), ..Options::default() };
/// let done = BlockExecutor::new(2)?.execute_with(&MemStore::new().snapshot()?, &[5, 7], &Count, options);
/// let done = done.map_err(|error| error.cause.to_string())?;
/// assert_eq!(told.recv()?, (1, vec![(0, Effect::Put(15))]));
/// assert_eq!((done.committed, done.batch.get(&0)), (3, Some(&Op::Put(22))));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Elsewhere<K: Key, V: Value, O = Infallible> {
    inner: Arc<Inner<K, V, O>>,
}

struct Inner<K, V, O> {
    /// What was declared.
    declared: BTreeMap<TxIndex, BTreeSet<K>>,
    /// What is told of transactions that are executed here.
    told: BTreeMap<TxIndex, Vec<K>>,
    tell: Option<Box<Tell<K, V, O>>>,
    state: Mutex<State<K, V, O>>,
    /// Whether something has arrived that no worker has taken; it saves taking the lock. Changed under it. Relaxed: whoever
    /// sets it calls a sleeper after it, and who is about to sleep looks at it once more.
    pending: AtomicBool,
}

type Tell<K, V, O> = dyn Fn(TxIndex, Vec<(K, Effect<V, O>)>) + Send + Sync;

#[derive(Debug)]
struct State<K, V, O> {
    owed: BTreeMap<TxIndex, BTreeSet<K>>,
    arrived: Vec<Arrival<K, V, O>>,
    /// Of what has arrived, the operands, by their places: to be settled once these commit.
    merged: BTreeMap<TxIndex, Vec<(K, Operands<O>)>>,
    /// The block's sleepers.
    parking: Option<Arc<Parking>>,
}

/// An outcome that has arrived.
#[derive(Debug)]
pub(super) struct Arrival<K, V, O> {
    pub(super) index: TxIndex,
    pub(super) key: K,
    pub(super) effect: Effect<V, O>,
}

/// An outcome that was not expected; it was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The transaction at this place was not declared to write the key, or is not executed elsewhere.
    #[error("transaction {index} was not declared to write key {key}")]
    Undeclared {
        /// The place.
        index: TxIndex,
        /// The key, as it prints itself.
        key: String,
    },
    /// The key's outcome has arrived before; the first one stays.
    #[error("key {key} of transaction {index} has been resolved before")]
    Repeated {
        /// The place.
        index: TxIndex,
        /// The key, as it prints itself.
        key: String,
    },
}

impl<K: Key, V: Value, O: Clone> Elsewhere<K, V, O> {
    /// Declares, for each place in the block that is executed elsewhere, every key that its transaction may write.
    pub fn new(declared: impl IntoIterator<Item = (TxIndex, Vec<K>)>) -> Self {
        let declared: BTreeMap<_, BTreeSet<_>> =
            declared.into_iter().map(|(index, keys)| (index, keys.into_iter().collect())).collect();
        Self::with(declared, BTreeMap::new(), None)
    }

    /// Another one, to which nothing has happened and that shares nothing with this one, of a block that tells others what they
    /// wait for: `told` has keys of transactions executed here. When one of these commits and the hook lets the block go on,
    /// `tell` is called with its place and what it did to each of its keys, written or not. Operands are told as they were left,
    /// without what they come to, unless everything below was committed before the transaction ran. It is called by whoever
    /// commits, while nobody else can: it should not wait. A panic in it ends the block, as one in the hook.
    #[must_use]
    pub fn telling(
        self,
        told: impl IntoIterator<Item = (TxIndex, Vec<K>)>,
        tell: impl Fn(TxIndex, Vec<(K, Effect<V, O>)>) + Send + Sync + 'static,
    ) -> Self {
        Self::with(self.inner.declared.clone(), told.into_iter().collect(), Some(Box::new(tell)))
    }

    fn with(
        declared: BTreeMap<TxIndex, BTreeSet<K>>,
        told: BTreeMap<TxIndex, Vec<K>>,
        tell: Option<Box<Tell<K, V, O>>>,
    ) -> Self {
        let state = State { owed: declared.clone(), arrived: Vec::new(), merged: BTreeMap::new(), parking: None };
        let (state, pending) = (Mutex::new(state), AtomicBool::new(false));
        Self { inner: Arc::new(Inner { declared, told, tell, state, pending }) }
    }

    /// Tells what the transaction at `index` did to `key`. Before the block begins or while it runs, from any thread; does not
    /// wait. Operands come to the same as if their transaction had been executed here; that they are admitted over what lies below
    /// them is checked at its commit: see [`Cause::Elsewhere`](super::Cause::Elsewhere).
    ///
    /// # Errors
    /// [`ResolveError`] if the key was not declared there, or has been resolved; nothing is changed.
    pub fn resolve(&self, index: TxIndex, key: &K, effect: Effect<V, O>) -> Result<(), ResolveError> {
        if !self.inner.declared.get(&index).is_some_and(|keys| keys.contains(key)) {
            return Err(ResolveError::Undeclared { index, key: format!("{key:?}") });
        }
        // What may panic comes first: a key that is no longer owed has arrived.
        let merged = match &effect {
            Effect::Merge(operands) if !operands.is_empty() => Some((key.clone(), operands.iter().cloned().collect())),
            _ => None,
        };
        let mut state = self.inner.state.lock();
        let Some(key) = state.owed.get_mut(&index).and_then(|owed| owed.take(key)) else {
            return Err(ResolveError::Repeated { index, key: format!("{key:?}") });
        };
        if let Some(merged) = merged {
            state.merged.entry(index).or_default().push(merged);
        }
        state.arrived.push(Arrival { index, key, effect });
        self.inner.pending.store(true, Ordering::Relaxed);
        if let Some(parking) = &state.parking {
            parking.call(false);
        }
        Ok(())
    }

    pub(super) fn declared(&self) -> &BTreeMap<TxIndex, BTreeSet<K>> {
        &self.inner.declared
    }

    /// The lowest place that owes a key.
    pub(super) fn waiting_for(&self) -> Option<TxIndex> {
        self.inner.state.lock().owed.iter().find(|(_, owed)| !owed.is_empty()).map(|(index, _)| *index)
    }

    /// `parking` is told of arrivals from now on; those from before are pending. False, and nothing done, if another
    /// block has been here: it has taken what arrived, and this one would wait for ever.
    pub(super) fn attach(&self, parking: Arc<Parking>) -> bool {
        let mut state = self.inner.state.lock();
        let first = state.parking.is_none();
        state.parking.get_or_insert(parking);
        first
    }

    /// Whether something has arrived since the last call of [`take`](Self::take).
    pub(super) fn has_arrivals(&self) -> bool {
        self.inner.pending.load(Ordering::Relaxed)
    }

    /// What has arrived since the last call.
    pub(super) fn take(&self) -> Vec<Arrival<K, V, O>> {
        if !self.has_arrivals() {
            return Vec::new();
        }
        let mut state = self.inner.state.lock();
        self.inner.pending.store(false, Ordering::Relaxed);
        std::mem::take(&mut state.arrived)
    }

    /// The operands that have arrived for `index`, once: it is about to commit.
    pub(super) fn take_merged(&self, index: TxIndex) -> Vec<(K, Operands<O>)> {
        if self.inner.declared.get(&index).is_none_or(BTreeSet::is_empty) {
            return Vec::new(); // most places owe nothing
        }
        self.inner.state.lock().merged.remove(&index).unwrap_or_default()
    }

    /// The keys of which others are told what the transaction at `index` did, if there are any.
    pub(super) fn told_of(&self, index: TxIndex) -> Option<&[K]> {
        self.inner.told.get(&index).map(Vec::as_slice)
    }

    /// Tells them.
    pub(super) fn tell(&self, index: TxIndex, effects: Vec<(K, Effect<V, O>)>) {
        if let Some(tell) = &self.inner.tell {
            tell(index, effects);
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug, O: fmt::Debug> fmt::Debug for Inner<K, V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { declared, told, state, .. } = self;
        let mut shown = f.debug_struct("Inner");
        shown.field("declared", declared).field("told", told).field("state", state).finish_non_exhaustive()
    }
}
