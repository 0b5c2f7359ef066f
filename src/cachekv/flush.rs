//! What passes between a store and its parent: flush down, refresh up, and discard.
//!
//! ```text
//!            freeze             parent.commit           land
//!   dirty  a b c   │  ·            ·   d           │   ·   d      d: written meanwhile
//!   frozen   ·     │ a b c       a b c             │     ·
//!   base   old     │ old         old               │ new, with a b c
//!                                  └── failed: stays so; the next flush takes d along
//! ```
//!
//! Each column is one published cut; all show the same entries. So a failure has nothing to undo: what was frozen is still
//! shown, by this layer alone, and what the next flush writes is it and what came since, the newer over the older.

use super::cut::Cut;
use super::layers::Layers;
use super::store::Store;
use crate::kv::{Error, KvRead, KvStore, WriteBatch};

/// While it lives, a flush has the frozen layer; it ends with the flush however that ends, by a panic in the parent too.
struct Flight<'a, R: KvRead>(&'a Layers<R>);

impl<R: KvRead> Drop for Flight<'_, R> {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

impl<P: KvStore> Store<P> {
    /// Writes what is dirty to the parent as one atomic batch, in key order, and renews the base to the state after it.
    ///
    /// When it returns, every write that was complete when it was called is in the parent. Readers and writers go on
    /// meanwhile, and see the same state throughout: nothing missing, nothing twice. What is written while the parent
    /// commits stays dirty. With nothing dirty it only renews the base.
    ///
    /// O(dirty) beside the parent's commit. Waits for the parent, and for a flush or refresh under way.
    ///
    /// # Errors
    /// What the parent said. The parent holds what it held, here everything written is still visible and still dirty, the
    /// base is the old one, and the next flush commits the same again, with what was written since laid over it.
    ///
    /// # Panics
    /// If the parent does, or code of a key or value; the state left behind is that of an error. A parent that panicked after
    /// it had committed holds the batch, and the next flush commits the same again.
    ///
    /// ```
    /// use cachekv::{cachekv::Store, kv::{KvRead, KvStore, MemStore}};
    /// # fn main() -> Result<(), cachekv::kv::Error> {
    /// let store = Store::new(MemStore::from_iter([("a", 1)]))?;
    /// store.set("b", 2);
    /// store.delete("a");
    /// assert_eq!(store.parent().snapshot()?.get(&"b")?, None);
    /// store.flush()?;
    /// assert_eq!(store.parent().snapshot()?.range(..).collect::<Result<Vec<_>, _>>()?, [("b", 2)]);
    /// assert!(!store.is_dirty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush(&self) -> Result<(), Error> {
        let _one = self.renewal.lock();
        let _flight = Flight(&self.layers); // from before there is anything to end
        let frozen = self.layers.freeze();
        let base = if frozen.is_empty() {
            self.parent.snapshot()?
        } else {
            let batch: WriteBatch<_, _> = frozen.iter().map(|(key, op)| (key.clone(), op.clone())).collect();
            self.parent.commit(batch)?
        };
        self.layers.land(Cut::of(&base));
        Ok(())
    }

    /// Renews the base to the parent's present state, under what is dirty.
    ///
    /// O(layers that hold something) beside the parent's snapshot. Waits for a flush or refresh under way.
    ///
    /// # Errors
    /// What the parent said; nothing changed.
    pub fn refresh(&self) -> Result<(), Error> {
        let _one = self.renewal.lock();
        self.layers.rebase(Cut::of(&self.parent.snapshot()?));
        Ok(())
    }

    /// Drops what is dirty, what a failed flush left behind included, and renews the base to the parent's present state.
    ///
    /// While a flush is under way it drops only what was written since that began: what is being committed may be in the
    /// parent already. It does not wait for it, and leaves the base to whoever is renewing it. Snapshots and open iterators keep what they
    /// show. Waits for writers, and for the parent's snapshot unless somebody else is renewing the base.
    ///
    /// # Errors
    /// What the parent said; nothing changed, and nothing was dropped.
    pub fn discard(&self) -> Result<(), Error> {
        let renewing = self.renewal.try_lock(); // held until the base is in place: bases follow each other
        let base = match &renewing {
            Some(_) => Some(Cut::of(&self.parent.snapshot()?)),
            None => None,
        };
        self.layers.discard(base);
        Ok(())
    }
}
