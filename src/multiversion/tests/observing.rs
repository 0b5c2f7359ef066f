//! What is observed, exactly: version first, value where versions differ, ranges as far as they were walked.

use super::*;
use crate::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

#[test]
fn the_same_value_by_another_incarnation_stands() {
    let mut block = Block::over(&[]);
    block.run(1, |view| view.set(1, 1));
    let [point, range, exists] =
        [block.observe(2, |view| get(view, 1)), block.observe(2, walk), block.observe(2, keys)];
    block.run(1, |view| view.set(1, 1));
    assert!(block.holds(2, &point) && block.holds(2, &range) && block.holds(2, &exists));
    block.run(1, |view| view.set(1, 2));
    assert!(!block.holds(2, &point) && !block.holds(2, &range) && block.holds(2, &exists));
}

#[test]
fn the_base_value_written_again_stands_and_taken_away_again_too() {
    let mut block = Block::over(&[(1, 10)]);
    let point = block.observe(2, |view| get(view, 1));
    let range = block.observe(2, walk);
    block.run(1, |view| view.set(1, 10));
    assert!(block.holds(2, &point) && block.holds(2, &range));
    block.run(1, |view| view.delete(1));
    assert!(!block.holds(2, &point) && !block.holds(2, &range));
    block.run(1, |_| {});
    assert!(block.holds(2, &point) && block.holds(2, &range));
}

#[test]
fn absence_by_tombstone_and_absence_in_the_base_are_the_same_absence() {
    let mut block = Block::over(&[]);
    let [point, range] = [block.observe(2, |view| get(view, 1)), block.observe(2, walk)];
    block.run(1, |view| view.delete(1));
    assert!(block.holds(2, &point) && block.holds(2, &range));
    let [point, range] = [block.observe(2, |view| get(view, 1)), block.observe(2, walk)];
    block.run(1, |_| {});
    assert!(block.holds(2, &point) && block.holds(2, &range));
    block.run(1, |view| view.set(1, 0));
    assert!(!block.holds(2, &point) && !block.holds(2, &range));
}

#[test]
fn a_tombstone_lifted_shows_the_base_again() {
    let mut block = Block::over(&[(1, 10)]);
    block.run(1, |view| view.delete(1));
    let reads = [
        block.observe(2, |view| get(view, 1)),
        block.observe(2, |view| view.contains(&1).unwrap()),
        block.observe(2, keys),
    ];
    block.run(1, |_| {});
    assert!(reads.iter().all(|reads| !block.holds(2, reads)));
}

#[test]
fn later_transactions_are_of_no_concern() {
    let mut block = Block::over(&[(1, 10)]);
    let [point, range] = [block.observe(2, |view| get(view, 1)), block.observe(2, walk)];
    block.run(2, |view| view.set(1, 0));
    block.run(3, |view| {
        view.set(1, 0);
        view.set(2, 0);
    });
    assert!(block.holds(2, &point) && block.holds(2, &range));
}

#[test]
fn reads_repeat_while_others_write() {
    let block = Block::over(&[(1, 10), (2, 20)]);
    let view = block.view(5);
    assert_eq!(get(&view, 1), Some(10));
    assert_eq!(view.keys(2..).map(Result::unwrap).collect::<Vec<_>>(), [2]);
    let writes = [(1, super::super::Write::Put(0)), (2, super::super::Write::Delete)];
    drop(block.publish_as(Version { tx: 1, incarnation: 0 }, writes.to_vec(), &Written::default()));
    assert_eq!(get(&view, 1), Some(10), "from the read set");
    assert!(view.contains(&1).unwrap());
    assert!(view.get(&2).is_err(), "it was walked as existing and is gone");
    assert!(view.get(&1).is_err(), "the run is lost");
}

#[test]
fn a_walk_past_a_key_that_was_seen_and_has_gone_without_a_trace_ends_the_run() {
    for seen_by in
        [|view: &View<'_>| assert_eq!(get(view, 4), Some(4)), |view: &View<'_>| assert_eq!(keys(view).len(), 2)]
    {
        for rev in [false, true] {
            let mut block = Block::over(&[(1, 10)]);
            block.run(1, |view| view.set(4, 4));
            let (slots, _) = block.ran.remove(&1).unwrap();
            let view = block.view(5);
            seen_by(&view);
            drop(block.publish_as(Version { tx: 1, incarnation: 1 }, Vec::new(), &slots));
            let walked = if rev { view.keys(2..).next_back() } else { view.keys(2..).next() };
            assert!(matches!(walked, Some(Err(_))), "{walked:?}");
        }
    }
}

#[test]
fn nothing_read_ahead_is_observed() {
    let mut block = Block::over(&[(1, 10), (3, 30), (5, 50)]);
    block.run(0, |view| view.set(4, 40));
    let first = block.observe(2, |view| assert_eq!(view.range(..).next().unwrap().unwrap(), (1, 10)));
    let last = block.observe(2, |view| assert_eq!(view.range(..).next_back().unwrap().unwrap(), (5, 50)));
    block.run(1, |view| (2..5).for_each(|key| view.delete(key)));
    assert!(block.holds(2, &first) && block.holds(2, &last));
    block.run(1, |view| (2..5).for_each(|key| view.set(key, 0)));
    assert!(block.holds(2, &first) && block.holds(2, &last));
    block.run(1, |view| view.set(0, 0));
    assert!(!block.holds(2, &first) && block.holds(2, &last));
    block.run(1, |view| view.set(6, 0));
    assert!(block.holds(2, &first) && !block.holds(2, &last));
}

#[test]
fn a_walk_to_its_end_observes_the_rest_of_the_range() {
    let mut block = Block::over(&[(3, 30)]);
    let reads = block.observe(2, |view| assert_eq!(view.keys(2..8).count(), 1));
    for (key, holds) in [(1, true), (2, false), (5, false), (7, false), (8, true)] {
        block.run(1, |view| view.set(key, 0));
        assert_eq!(block.holds(2, &reads), holds, "key {key}");
    }
}

#[test]
fn bounds_are_kept_on_both_sides() {
    use std::ops::Bound::{Excluded, Included};
    let mut block = Block::over(&[]);
    let reads = block.observe(2, |view| assert_eq!(view.keys((Excluded(2), Included(4))).count(), 0));
    for (key, holds) in [(2, true), (3, false), (4, false), (5, true)] {
        block.run(1, |view| view.set(key, 0));
        assert_eq!(block.holds(2, &reads), holds, "key {key}");
    }
}

#[test]
fn an_own_write_masks_only_what_the_iterator_could_see_of_it() {
    let mut block = Block::over(&[]);
    let before = block.observe(2, |view| {
        view.set(1, 1);
        walk(view)
    });
    let after = block.observe(2, |view| {
        let _ = walk(view);
        view.set(1, 1);
    });
    block.run(1, |view| view.set(1, 0));
    assert!(block.holds(2, &before) && !block.holds(2, &after));
}

#[test]
fn a_merged_value_is_validated_by_what_it_comes_to() {
    let mut block = Block::over(&[(1, 10)]);
    block.run(1, |view| view.set(1, 5));
    block.run(2, |view| view.merge(1, 5).unwrap());
    let [point, range] = [block.observe(3, |view| get(view, 1)), block.observe(3, walk)];
    block.run(1, |_| {}); // the topmost version stays, what lies below it changes
    assert!(!block.holds(3, &point) && !block.holds(3, &range));
    block.run(1, |view| view.set(1, 4));
    block.run(2, |view| view.merge(1, 6).unwrap());
    assert!(block.holds(3, &point) && block.holds(3, &range));
}

/// A state that says when it is read, and answers when it may.
#[derive(Clone)]
struct Held {
    state: MemSnapshot<u32, i64>,
    reading: Sender<()>,
    may: Arc<Mutex<Receiver<()>>>,
}

impl KvRead for Held {
    type Key = u32;
    type Value = i64;
    type Iter = <MemSnapshot<u32, i64> as KvRead>::Iter;
    type Root = Self;
    fn get(&self, key: &u32) -> Result<Option<i64>, Error> {
        self.reading.send(()).unwrap();
        self.may.lock().recv_timeout(Duration::from_secs(60)).expect("who writes the key waits for who reads below it");
        self.state.get(key)
    }
    fn scan(&self, range: KeyRange<u32>) -> Self::Iter {
        self.state.scan(range)
    }
    fn root(&self) -> &Self {
        self
    }
}

/// Nobody who writes a key waits for the store below, though somebody else be reading the key there.
#[test]
fn a_key_is_written_while_it_is_read_below() {
    let ((reading, is_read), (answer, may)) = (channel(), channel());
    let state = MemStore::from_iter([(1, 10)]).snapshot().unwrap();
    let block = Block::over_state(DynRead::new(Held { state, reading, may: Arc::new(Mutex::new(may)) }));
    thread::scope(|scope| {
        let read = scope.spawn(|| block.view(5).get(&1));
        is_read.recv_timeout(Duration::from_secs(60)).unwrap();
        let writes = [(1, super::super::Write::Put(20))];
        drop(block.publish_as(Version { tx: 0, incarnation: 0 }, writes.to_vec(), &Written::default()));
        answer.send(()).unwrap();
        assert_eq!(read.join().unwrap().unwrap(), Some(20), "it looks again");
    });
}
