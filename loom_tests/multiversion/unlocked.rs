//! Looks that take no lock: at keys without a version, whose value below is known.

use super::*;

/// A block over key 1, whose value below is known.
fn known() -> Arc<Block> {
    let block = Block::over(&[(1, 10)]);
    assert_eq!(block.view(0).get(&1).unwrap(), Some(10));
    block
}

/// Commits transaction 0, which wrote nothing.
fn commit(block: &Block) {
    block.store.frontier().advance(1);
}

/// Key 1 is written for the first time, by each of `writers`, beside a look of a run that may begin when the block is committed
/// further: the look saw what it is in the end, `last`, or validation knows.
fn later<T: PartialEq + 'static>(
    writers: &'static [fn(&View<'_>)],
    commits: fn(&Arc<Block>) -> Option<thread::JoinHandle<()>>,
    look: fn(&View<'_>) -> Result<T, ViewError>,
    last: fn(&T) -> bool,
) {
    explore(move || {
        let block = known();
        let ready: Vec<_> = (1..).zip(writers).map(|(tx, write)| block.ready(tx, write)).collect();
        let publish = |ready| beside(&block, move |block| drop(block.publish(ready)));
        let mut others: Vec<_> = ready.into_iter().map(publish).collect();
        others.extend(commits(&block));
        let read = block.observe(4, look);
        others.into_iter().for_each(|other| other.join().unwrap());
        let current = last(read.answer.as_ref().unwrap());
        assert_eq!(block.holds(4, &read), current);
    });
}

/// Before the run begins, and by who runs it.
fn before(block: &Arc<Block>) -> Option<thread::JoinHandle<()>> {
    commit(block);
    None
}

#[test]
fn what_is_first_written_after_a_look_is_later() {
    later(&[|view| view.set(1, 20)], before, |view| view.get(&1), |value| *value == Some(20));
}

/// Somebody else commits, and the run sees it.
#[test]
fn what_is_first_written_after_a_look_is_later_than_another_commits() {
    later(
        &[|view| view.set(1, 20)],
        |block| Some(beside(block, commit)),
        |view| view.get(&1),
        |value| *value == Some(20),
    );
}

/// Two write it first at once: whichever is quicker, and which of them lists it.
#[test]
fn what_two_write_first_after_a_look_is_later() {
    later(&[|view| view.set(1, 20), |view| view.set(1, 30)], before, |view| view.get(&1), |value| *value == Some(30));
}

#[test]
fn a_key_that_is_first_deleted_after_a_look_is_later() {
    later(&[|view| view.delete(1)], before, |view| view.contains(&1), |exists| !exists);
}

/// What a run has read by key it finds in a walk, though the key is written for the first time in between.
#[test]
fn a_walk_finds_what_was_read_without_a_lock() {
    explore(|| {
        let block = known();
        let write = block.ready(1, |view| view.set(1, 20));
        let writer = beside(&block, move |block| drop(block.publish(write)));
        commit(&block);
        let view = block.view(2);
        if let (Ok(point), Ok(walked)) = (view.get(&1), walk(&view)) {
            assert_eq!(walked, [(1, point.unwrap())], "two answers of one run");
        }
        writer.join().unwrap();
    });
}

/// A value that takes the place of what a run knew of the key agrees with that.
#[test]
fn a_read_agrees_with_what_was_known_without_a_lock() {
    explore(|| {
        let block = known();
        let delete = block.ready(1, |view| view.delete(1));
        let writer = beside(&block, move |block| drop(block.publish(delete)));
        commit(&block);
        let view = block.view(2);
        if let (Ok(exists), Ok(value)) = (view.contains(&1), view.get(&1)) {
            assert_eq!(exists, value.is_some(), "two answers of one run");
        }
        writer.join().unwrap();
    });
}

/// What a walk has passed over a read by key does not show, though two write it first at once.
#[test]
fn what_a_walk_passed_over_is_not_read_when_two_write_it() {
    explore_within(2, || {
        let block = Block::over(&[]);
        let ready = [1, 2].map(|tx| block.ready(tx, |view| view.set(1, 20)));
        let others = ready.map(|ready| beside(&block, move |block| drop(block.publish(ready))));
        commit(&block);
        let view = block.view(3);
        if let (Ok(walked), Ok(point)) = (walk(&view), view.get(&1)) {
            assert_eq!(walked.first().map(|(_, value)| *value), point, "two answers of one run");
        }
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
