//! The merge iterator against an ordered map: what it yields, what it reads, and how it fails.

use cachekv::kv::MergeIter;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::rc::Rc;

/// One source: what it says of each key, `None` being a tombstone.
type Layer = BTreeMap<u8, Option<u16>>;
type Entry = Result<(u8, Option<u16>), &'static str>;

/// A source that counts what is read from each of its ends.
struct Counted {
    entries: VecDeque<Entry>,
    read: Rc<Reads>,
}

#[derive(Default)]
struct Reads {
    front: Cell<usize>,
    back: Cell<usize>,
}

impl Counted {
    fn new(layer: &Layer) -> Self {
        Self { entries: layer.iter().map(|(&key, &payload)| Ok((key, payload))).collect(), read: Rc::default() }
    }
}

impl Iterator for Counted {
    type Item = Entry;
    fn next(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front();
        self.read.front.set(self.read.front.get() + usize::from(entry.is_some()));
        entry
    }
}

impl DoubleEndedIterator for Counted {
    fn next_back(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_back();
        self.read.back.set(self.read.back.get() + usize::from(entry.is_some()));
        entry
    }
}

/// Newest first: an older layer never replaces what a newer one says.
fn merged(layers: &[Layer]) -> Layer {
    layers.iter().rev().flat_map(|layer| layer.iter().map(|(&key, &payload)| (key, payload))).collect()
}

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    vec(btree_map(0..24u8, proptest::option::weighted(0.7, any::<u16>()), 0..12), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// In any order of steps from both ends, each key comes once, as its newest source has it, tombstones included.
    #[test]
    fn it_yields_the_newest_of_every_key(layers in layers(), ends in vec(any::<bool>(), 0..40)) {
        let mut expected = merged(&layers);
        let mut walk = MergeIter::new(layers.iter().map(Counted::new));
        for front in ends {
            let (seen, due) = if front { (walk.next(), expected.pop_first()) } else { (walk.next_back(), expected.pop_last()) };
            prop_assert_eq!(seen, due.map(Ok));
        }
        prop_assert!(walk.eq(expected.into_iter().map(Ok)));
    }

    /// What exists is what is left when tombstones are dropped from the walk: they hide, they do not just vanish.
    #[test]
    fn tombstones_hide_what_lies_below(layers in layers(), backwards: bool) {
        let exists: Vec<_> = merged(&layers).into_iter().filter_map(|(key, payload)| Some((key, payload?))).collect();
        let alive = |entry: Entry| entry.map(|(key, payload)| Some((key, payload?))).transpose();
        let walk = MergeIter::new(layers.iter().map(Counted::new));
        let mut seen: Vec<_> =
            if backwards { walk.rev().filter_map(alive).collect() } else { walk.filter_map(alive).collect::<Vec<_>>() };
        if backwards {
            seen.reverse();
        }
        prop_assert_eq!(seen, exists.into_iter().map(Ok).collect::<Vec<_>>());
    }

    /// Beyond what it has passed, a walk has read one entry of a source at each end at the most, and none before it starts.
    #[test]
    fn it_reads_one_entry_ahead_at_the_most(layers in layers(), ends in vec(any::<bool>(), 0..40)) {
        let sources: Vec<_> = layers.iter().map(Counted::new).collect();
        let reads: Vec<_> = sources.iter().map(|source| Rc::clone(&source.read)).collect();
        let mut walk = MergeIter::new(sources);
        prop_assert!(reads.iter().all(|read| (read.front.get(), read.back.get()) == (0, 0)));
        let ahead = usize::from(layers.len() > 1); // a lone source has nothing to be compared with
        let (mut low, mut high) = (None, None);
        for front in ends {
            let entry = if front { walk.next() } else { walk.next_back() };
            let Some(entry) = entry else { break };
            let end = if front { &mut low } else { &mut high };
            *end = Some(entry.unwrap().0);
            for (layer, read) in layers.iter().zip(&reads) {
                let passed_low = low.map_or(0, |low| layer.range(..=low).count());
                let passed_high = high.map_or(0, |high| layer.range(high..).count());
                // An end that was never asked has read nothing.
                let (ahead_low, ahead_high) = (ahead * usize::from(low.is_some()), ahead * usize::from(high.is_some()));
                prop_assert!(read.front.get() <= passed_low + ahead_low);
                prop_assert!(read.back.get() <= passed_high + ahead_high);
            }
        }
    }

    /// A source that fails after `good` entries: the walk gives all up to the last of them, then the error, then nothing.
    #[test]
    fn an_error_ends_the_walk(layers in layers(), which: prop::sample::Index, good: prop::sample::Index, backwards: bool) {
        let which = which.index(layers.len());
        let good = good.index(layers[which].len() + 1);
        let mut sources: Vec<_> = layers.iter().map(Counted::new).collect();
        let entries = &mut sources[which].entries;
        let due: Vec<_> = if backwards {
            entries.insert(entries.len() - good, Err("broken"));
            let last = layers[which].keys().rev().take(good).min();
            last.map_or(vec![], |&last| merged(&layers).range(last..).rev().map(|(&k, &p)| Ok((k, p))).collect())
        } else {
            entries.insert(good, Err("broken"));
            let last = layers[which].keys().take(good).max();
            last.map_or(vec![], |&last| merged(&layers).range(..=last).map(|(&k, &p)| Ok((k, p))).collect())
        };
        let mut walk = MergeIter::new(sources);
        let mut step = || if backwards { walk.next_back() } else { walk.next() };
        for entry in due {
            prop_assert_eq!(step(), Some(entry));
        }
        prop_assert_eq!(step(), Some(Err("broken")));
        prop_assert_eq!((walk.next(), walk.next_back(), walk.next()), (None, None, None));
    }
}

#[test]
fn no_source_is_an_empty_walk() {
    let mut walk = MergeIter::new(Vec::<Counted>::new());
    assert_eq!((walk.next(), walk.next_back()), (None, None));
}

/// An entry that one end has read ahead is the other end's to take when nothing else is left of its source.
#[test]
fn an_entry_read_ahead_is_not_lost_to_the_other_end() {
    let layers = [Layer::from([(5, Some(5))]), Layer::from([(1, Some(1)), (9, Some(9))])];
    let mut walk = MergeIter::new(layers.iter().map(Counted::new));
    assert_eq!(walk.next(), Some(Ok((1, Some(1))))); // 5 and 9 have been read ahead from the front
    assert_eq!(walk.next_back(), Some(Ok((9, Some(9)))));
    assert_eq!(walk.next_back(), Some(Ok((5, Some(5)))));
    assert_eq!((walk.next(), walk.next_back()), (None, None));
    let between = merged(&layers);
    assert_eq!(between.range((Bound::Excluded(1), Bound::Excluded(9))).count(), 1);
}
