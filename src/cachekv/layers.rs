//! How writes become a cut: the buffered writes of one store, the states it lies over, and their publication.
//!
//! ```text
//!   dirty     written since the last flush; changed in place, under a short lock
//!   frozen    what a flush is committing, or failed to commit; empty otherwise
//!   base      the parent's state, as of the last renewal
//! ```
//!
//! **One cut.** Whatever replaces a layer builds the new [`Cut`] under the write lock of `state` and puts it into the
//! cell in one store, so that no cut ever mixes layers of two moments. A flush moves entries from dirty to frozen to base
//! in two such steps, and each of the cuts between shows every entry exactly once or twice with the same value.
//!
//! **All or nothing.** A key's `Ord`, a value's `Clone` or a root's may panic. So a step first makes all that it will put in
//! place, and then puts it there by moves alone: whoever looks after a panic sees the state before the step.
//!
//! **Lock order:** `writing`, then `state`. The cell and `changed` are written under the write lock of `state` alone.
//! (A store's `renewal` comes before both.)
//!
//! * `writing` is held by whoever changes the dirty map, for as long as that takes; no reader takes it.
//! * `state` is held for one lookup, one insertion or the swap of some pointers. Nothing below is called under it, no
//!   batch applied, no layers merged and no map dropped: what is replaced is handed out and dropped after.

use super::cut::Cut;
use super::snapshot::Snapshot;
use crate::kv::{Error, KvRead, Op, Overlay, WriteBatch};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, RwLockReadGuard, SnapshotCell, TriedRwLock, pause};
use std::mem;

/// The layers of one store over states with root `R`.
pub(super) struct Layers<R: KvRead> {
    /// One writer at a time: a batch is applied to a copy of the dirty map, and what another writer did to the
    /// original in between would be lost, or brought back after a freeze or a discard.
    writing: Mutex<()>,
    state: TriedRwLock<State<R>>,
    /// Whether `dirty` holds what the published cut does not. When it does not, the cell says all there is to say.
    ///
    /// Set under the write lock before the map is changed; cleared under it after the cut has been stored:
    ///
    /// * A reader that finds it clear reads the cell. It has seen the value of some clearing (or of the beginning), and so
    ///   sees the cut stored before that, or a later one. A write that was complete when the reader began had set it
    ///   by then, so the clearing seen comes after it, and the cut holds the write.
    /// * A reader that finds it set takes the lock and sees at least all that was written until then. It may leave the cut
    ///   that it made in the state, and the flag set: whoever writes drops that cut under the same lock.
    /// * A writer between the two steps of a publication: there is none, both are under the write lock.
    /// * Cleared *before* the cut is stored, a reader in between would miss completed writes.
    changed: AtomicBool,
    published: SnapshotCell<Cut<R>>,
    /// How many cuts were published; counted under the write lock, after all else that a publication does.
    ///
    /// A reader that sees it grow since its call began may take what is in the cell. For a write that was complete at
    /// that time released the lock before; had the publication come before the write in the order of the lock, the reader
    /// would have found it counted already. So it came after, and its cut holds the write.
    edition: AtomicU64,
    /// Whether a reader waits for a publication, which the next writer then makes for it: a lock that a writer takes again and
    /// again, in no fair order, is not to be won within microseconds.
    wanted: AtomicBool,
}

/// How often a reader looks whether the lock is free, or a cut published, before it waits in line.
const PATIENCE: u32 = if cfg!(kv_loom) { 1 } else { 64 };
/// How often a point read does so before it asks for a publication, which costs the next writers a copy of their path.
const GLANCES: u32 = if cfg!(kv_loom) { 1 } else { 4 };

/// Cloning it costs reference counts.
#[derive(Clone)]
struct State<R: KvRead> {
    dirty: Overlay<R::Key, R::Value>,
    frozen: Overlay<R::Key, R::Value>,
    /// Whether a flush is committing `frozen`: it may be in the parent by now, so nobody may drop it.
    committing: bool,
    base: Arc<Cut<R>>,
    /// `frozen` over `base`: what `dirty` lies over.
    below: Arc<Cut<R>>,
    /// The cut of this very state, once a reader has asked for it, until the next write. Put into the cell when a second
    /// reader asks: what is written between two readers' questions costs neither a publication nor, once the reader is
    /// done, a copy of the path to it.
    cut: Option<Arc<Cut<R>>>,
}

impl<R: KvRead> State<R> {
    /// The same with `frozen` over `base`.
    fn laid(&self, frozen: Overlay<R::Key, R::Value>, base: Arc<Cut<R>>) -> Self {
        let below = Cut::over(&frozen, &base);
        Self { frozen, base, below, ..self.clone() }
    }

    /// The cut of this state, and whether it was asked for before.
    fn asked(&mut self) -> (Arc<Cut<R>>, bool) {
        match &self.cut {
            Some(cut) => (Arc::clone(cut), true),
            None => (Arc::clone(self.cut.insert(Cut::over(&self.dirty, &self.below))), false),
        }
    }
}

impl<R: KvRead> Layers<R> {
    /// Nothing written, over `base`.
    pub(super) fn new(base: Cut<R>) -> Self {
        let base = Arc::new(base);
        let published = SnapshotCell::new(Arc::clone(&base));
        let below = Arc::clone(&base);
        let state = State { dirty: Overlay::new(), frozen: Overlay::new(), committing: false, base, below, cut: None };
        Self {
            writing: Mutex::new(()),
            state: TriedRwLock::new(state),
            changed: AtomicBool::new(false),
            published,
            edition: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
        }
    }

    /// What the layers say of `key`, every completed write included; arguments as for [`Cut::find`].
    pub(super) fn find<T>(
        &self,
        key: &R::Key,
        written: impl FnOnce(Option<&R::Value>) -> T,
        base: impl FnOnce(&R) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Acquire: pairs with the Release in `show`, so that the cut stored before the clearing is seen.
        if !self.changed.load(Ordering::Acquire) {
            return self.published.with(|cut| cut.find(key, written, base));
        }
        let Some(state) = (0..GLANCES).find_map(|round| self.glance(round)) else {
            return self.fold().cut().find(key, written, base);
        };
        if let Some(op) = state.dirty.get(key) {
            return Ok(written(op.value()));
        }
        // Taken together with the miss: a write that comes in between hides what a renewal then puts below.
        let below = Arc::clone(&state.below);
        drop(state);
        below.find(key, written, base) // without the lock: a slow parent holds up this reader alone
    }

    /// The state, unless a writer has it; then lets a little time pass.
    fn glance(&self, round: u32) -> Option<RwLockReadGuard<'_, State<R>>> {
        let state = self.state.try_read();
        if state.is_none() {
            pause(round);
        }
        state
    }

    /// The current cut. One atomic load if nothing was written since it was published, else a look at the state.
    pub(super) fn snapshot(&self) -> Snapshot<R> {
        // Acquire: as in `find`.
        if self.changed.load(Ordering::Acquire) { self.fold() } else { Snapshot::new(self.published.load()) }
    }

    /// A cut with every write that was complete at the call: that of the present state, or one that who has the lock
    /// publishes meanwhile.
    fn fold(&self) -> Snapshot<R> {
        // Relaxed: what was counted before a complete write released the lock is seen all the same.
        let seen = self.edition.load(Ordering::Relaxed);
        for round in 0..PATIENCE {
            if let Some(mut state) = self.state.try_write() {
                // Relaxed: written under this lock alone. Another reader may have published while this one came to it.
                if !self.changed.load(Ordering::Relaxed) {
                    return Snapshot::new(self.published.load());
                }
                let (now, again) = state.asked();
                let replaced = again.then(|| self.put(Arc::clone(&now)));
                self.wanted.store(false, Ordering::Relaxed); // it has what it wished for; another reader wishes again
                drop(state); // before what was replaced
                drop(replaced);
                return Snapshot::new(now);
            }
            self.wanted.store(true, Ordering::Relaxed); // a hint: unseen, it costs another round
            pause(round);
            // Acquire: who sees a publication counted sees its cut in the cell.
            if self.edition.load(Ordering::Acquire) != seen {
                return Snapshot::new(self.published.load());
            }
        }
        self.publish(State::clone).0
    }

    /// Whether a flush would have something to commit.
    pub(super) fn is_dirty(&self) -> bool {
        let state = self.state.read();
        !state.dirty.is_empty() || !state.frozen.is_empty()
    }

    /// Says `op` of `key`.
    pub(super) fn write(&self, key: R::Key, op: Op<R::Value>) {
        let writing = self.writing.lock();
        let replaced = {
            let mut state = self.state.write();
            // Relaxed: who sees it takes the lock, and who must see it is after this lock's release.
            self.changed.store(true, Ordering::Relaxed);
            state.cut = None; // before the insertion: it shares what would have to be copied. Never the last of what it holds
            let replaced = state.dirty.insert(key, op); // changes nothing before its last comparison and copy
            (replaced, self.wanted.load(Ordering::Relaxed).then(|| self.show(&state)))
        };
        drop(writing);
        drop(replaced); // the caller's type: its drop may take long
    }

    /// Applies `batch` as one and returns the cut that shows it.
    pub(super) fn apply(&self, batch: WriteBatch<R::Key, R::Value>) -> Snapshot<R> {
        let writing = self.writing.lock();
        let mut dirty = self.state.read().dirty.clone();
        for (key, op) in batch {
            dirty.insert(key, op); // to the copy: until the swap, readers and snapshots go on with the original
        }
        let (now, retired) = self.publish(|state| State { dirty, ..state.clone() });
        drop(writing);
        drop(retired);
        now
    }

    /// Moves what is dirty down into the frozen layer, merged with what an earlier flush failed to commit, and returns
    /// it. Until [`thaw`](Self::thaw) nobody else touches it. Shows the same entries before and after.
    ///
    /// O(1), or O(smaller layer) if there was a failure; readers do not wait for that either.
    pub(super) fn freeze(&self) -> Overlay<R::Key, R::Value> {
        let writing = self.writing.lock(); // so that the dirty map merged here is the dirty map taken below
        let (dirty, failed) = {
            let state = self.state.read();
            (state.dirty.clone(), state.frozen.clone())
        };
        let frozen = dirty.union(failed); // of a key in both, the newer: the dirty one's
        let (_, retired) = self.publish(|state| {
            let laid = state.laid(frozen.clone(), Arc::clone(&state.base));
            State { dirty: Overlay::new(), committing: true, ..laid }
        });
        drop(writing);
        drop(retired);
        frozen
    }

    /// Ends what [`freeze`](Self::freeze) began: the frozen layer, if it is still there, is an overlay like another.
    pub(super) fn thaw(&self) {
        self.state.write().committing = false;
    }

    /// The frozen layer is in `base` now: one publication shows the one without the other.
    pub(super) fn land(&self, base: Cut<R>) {
        let base = Arc::new(base);
        drop(self.publish(|state| state.laid(Overlay::new(), base)));
    }

    /// Puts `base` under what is written.
    pub(super) fn rebase(&self, base: Cut<R>) {
        let base = Arc::new(base);
        drop(self.publish(|state| state.laid(state.frozen.clone(), base)));
    }

    /// Drops what is written, except what a flush is committing, and puts `base`, if given, under it.
    pub(super) fn discard(&self, base: Option<Cut<R>>) {
        let base = base.map(Arc::new);
        let writing = self.writing.lock(); // a batch being applied would bring back the map it was copied from
        let retired = self.publish(|state| {
            let base = base.unwrap_or_else(|| Arc::clone(&state.base));
            let frozen = if state.committing { state.frozen.clone() } else { Overlay::new() };
            State { dirty: Overlay::new(), ..state.laid(frozen, base) }
        });
        drop(writing);
        drop(retired);
    }

    /// Puts what `next` makes of the state in its place, and publishes it, as one. Returns the new cut, and what was
    /// replaced, to be dropped where it holds up nobody. If `next` or the building of the cut panics, nothing was done.
    fn publish(&self, next: impl FnOnce(&State<R>) -> State<R>) -> (Snapshot<R>, (State<R>, Arc<Cut<R>>)) {
        let mut state = self.state.write();
        let next = State { cut: None, ..next(&state) };
        let now = Cut::over(&next.dirty, &next.below);
        let before = mem::replace(&mut *state, next);
        (Snapshot::new(Arc::clone(&now)), (before, self.put(now)))
    }

    /// Publishes the cut that `state` makes; the caller holds the write lock it came from. Returns the one it replaces.
    fn show(&self, state: &State<R>) -> Arc<Cut<R>> {
        self.put(Cut::over(&state.dirty, &state.below))
    }

    /// Puts the cut of the state into the cell; the caller holds the write lock. Returns the one it replaces.
    fn put(&self, now: Arc<Cut<R>>) -> Arc<Cut<R>> {
        let replaced = self.published.swap(now);
        // Release, and after the cut is stored: who sees it clear sees that cut. See `changed`.
        self.changed.store(false, Ordering::Release);
        self.wanted.store(false, Ordering::Relaxed); // before the count: who asked earlier sees that grow, and need not wait
        self.edition.fetch_add(1, Ordering::Release); // as `changed`
        replaced
    }
}
