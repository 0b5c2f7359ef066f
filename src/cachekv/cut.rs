//! The cut: one immutable state, the overlays of every layer laid flat over one root.

use crate::kv::{Error, KvRead, Overlay};
use crate::sync::Arc;
use smallvec::SmallVec;

/// What a snapshot shares: built once at publication, never changed.
pub(super) struct Cut<R: KvRead> {
    /// Newest first, none of them empty: a store's own, then those of the stores below it, already laid flat.
    overlays: SmallVec<[Overlay<R::Key, R::Value>; 2]>,
    root: R,
}

impl<R: KvRead> Cut<R> {
    /// The state `root` under `overlays`, newest first; empty ones are left out. O(overlays), whatever they hold.
    pub(super) fn new<'a>(overlays: impl IntoIterator<Item = &'a Overlay<R::Key, R::Value>>, root: R) -> Self {
        Self { overlays: overlays.into_iter().filter(|overlay| !overlay.is_empty()).cloned().collect(), root }
    }

    /// Any state, laid flat.
    pub(super) fn of<S>(state: &S) -> Self
    where
        S: KvRead<Key = R::Key, Value = R::Value, Root = R>,
    {
        Self::new(state.overlays(), state.root().clone())
    }

    /// `top` over `below`. The very same cut if `top` says nothing.
    pub(super) fn over(top: &Overlay<R::Key, R::Value>, below: &Arc<Self>) -> Arc<Self> {
        if top.is_empty() {
            return Arc::clone(below);
        }
        Arc::new(Self::new(std::iter::once(top).chain(&below.overlays), below.root.clone()))
    }

    pub(super) fn overlays(&self) -> &[Overlay<R::Key, R::Value>] {
        &self.overlays
    }

    pub(super) fn root(&self) -> &R {
        &self.root
    }

    /// What this state says of `key`: `written` of the newest overlay that speaks of it (`None`: a tombstone), or what
    /// `base` finds in the root.
    pub(super) fn find<T>(
        &self,
        key: &R::Key,
        written: impl FnOnce(Option<&R::Value>) -> T,
        base: impl FnOnce(&R) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.overlays.iter().find_map(|overlay| overlay.get(key)) {
            Some(op) => Ok(written(op.value())),
            None => base(&self.root),
        }
    }
}
