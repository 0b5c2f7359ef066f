//! Looks that take no lock: at keys without a version, whose value below is known.

use super::*;

/// A block over key 1, whose value below is known.
fn known() -> Arc<Block> {
    let block = Block::over(&[(1, 10)]);
    assert_eq!(block.view(0).get(&1).unwrap(), Some(10));
    block
}

/// The first write of a key beside a look of a run that begins when the block is committed further: the look saw it, or
/// validation knows.
#[test]
fn what_is_first_written_after_a_look_is_later() {
    explore(|| {
        let block = known();
        let write = block.ready(1, |view| view.set(1, 20));
        let writer = beside(&block, move |block| drop(block.publish(write)));
        block.store.frontier().advance(1); // transaction 0 wrote nothing
        let read = block.observe(2, |view| view.get(&1));
        writer.join().unwrap();
        let current = *read.answer.as_ref().unwrap() == Some(20);
        assert_eq!(block.holds(2, &read), current);
    });
}

/// The same where somebody else commits, and the run sees it.
#[test]
fn what_is_first_written_after_a_look_is_later_than_another_commits() {
    explore(|| {
        let block = known();
        let write = block.ready(1, |view| view.set(1, 20));
        let writer = beside(&block, move |block| drop(block.publish(write)));
        let commits = beside(&block, |block| block.store.frontier().advance(1));
        let read = block.observe(2, |view| view.get(&1));
        writer.join().unwrap();
        commits.join().unwrap();
        let current = *read.answer.as_ref().unwrap() == Some(20);
        assert_eq!(block.holds(2, &read), current);
    });
}

/// The same of two who write it first at once: whichever is quicker, and which of them lists it.
#[test]
fn what_two_write_first_after_a_look_is_later() {
    explore(|| {
        let block = known();
        let (lower, higher) = (block.ready(1, |view| view.set(1, 20)), block.ready(2, |view| view.set(1, 30)));
        let lower = beside(&block, move |block| drop(block.publish(lower)));
        let higher = beside(&block, move |block| drop(block.publish(higher)));
        block.store.frontier().advance(1);
        let read = block.observe(3, |view| view.get(&1));
        lower.join().unwrap();
        higher.join().unwrap();
        let current = *read.answer.as_ref().unwrap() == Some(30);
        assert_eq!(block.holds(3, &read), current);
    });
}

/// Existence likewise.
#[test]
fn a_key_that_is_first_deleted_after_a_look_is_later() {
    explore(|| {
        let block = known();
        let delete = block.ready(1, |view| view.delete(1));
        let writer = beside(&block, move |block| drop(block.publish(delete)));
        block.store.frontier().advance(1);
        let read = block.observe(2, |view| view.contains(&1));
        writer.join().unwrap();
        let current = !*read.answer.as_ref().unwrap();
        assert_eq!(block.holds(2, &read), current);
    });
}

/// What a run has read by key it finds in a walk, though the key is written for the first time in between.
#[test]
fn a_walk_finds_what_was_read_without_a_lock() {
    explore(|| {
        let block = known();
        let write = block.ready(1, |view| view.set(1, 20));
        let writer = beside(&block, move |block| drop(block.publish(write)));
        block.store.frontier().advance(1);
        let view = block.view(2);
        if let (Ok(point), Ok(walked)) = (view.get(&1), walk(&view)) {
            assert_eq!(walked, [(1, point.unwrap())], "two answers of one run");
        }
        writer.join().unwrap();
    });
}
