//! Which of a block's places are executed here.

use super::elsewhere::Elsewhere;
use crate::kv::{Key, Value};
use crate::multiversion::TxIndex;

/// Which place in the block each given transaction takes.
pub(super) enum Places {
    /// All of them are given.
    All,
    /// The place of each place's transaction among those given; `None` where it is executed elsewhere.
    Some(Vec<Option<usize>>),
}

impl Places {
    /// The places of a block of `given` transactions and those executed elsewhere.
    pub(super) fn new<K: Key, V: Value, O: Clone>(
        given: usize,
        elsewhere: Option<&Elsewhere<K, V, O>>,
    ) -> Result<Self, &'static str> {
        let len = given.saturating_add(elsewhere.map_or(0, |elsewhere| elsewhere.declared().len()));
        if len >= TxIndex::MAX as usize {
            return Err("it has more transactions than can be counted");
        }
        let Some(elsewhere) = elsewhere else { return Ok(Places::All) };
        if elsewhere.declared().keys().next_back().is_some_and(|last| *last as usize >= len) {
            return Err("a place executed elsewhere lies beyond its end");
        }
        let mut given = 0..given;
        let here = |place| if elsewhere.declared().contains_key(&place) { None } else { given.next() };
        #[expect(clippy::cast_possible_truncation, reason = "less than the largest index, see above")]
        let places = 0..len as TxIndex;
        Ok(Places::Some(places.map(here).collect()))
    }

    /// Which of the given transactions is at `place`.
    pub(super) fn transaction(&self, place: TxIndex) -> Option<usize> {
        match self {
            Places::All => Some(place as usize),
            Places::Some(places) => places.get(place as usize).copied().flatten(),
        }
    }

    /// How many are executed elsewhere.
    pub(super) fn elsewhere(&self) -> usize {
        match self {
            Places::All => 0,
            Places::Some(places) => places.iter().filter(|place| place.is_none()).count(),
        }
    }
}
