//! The ordered directory beside ranges: a key enters it before its first version enters the chain.

use super::*;

/// Whether a point answer and a walk of one run, if it gave both, agree about key 1; and validation about both, when its
/// value is `last` at the end.
fn agreed(block: &Block, tx: TxIndex, both: Observed<(Answer, Result<Vec<(u8, i64)>, ViewError>)>, last: Option<i64>) {
    let (Ok(point), Ok(walked)) = &both.answer else { return };
    let in_walk = walked.iter().find(|(key, _)| *key == 1).map(|(_, value)| *value);
    assert_eq!(*point, in_walk, "two answers of one run");
    assert_eq!(block.holds(tx, &both), *point == last, "validation is wrong about {point:?}");
}

/// A key that a point read shows is one that a walk of the same run shows, though it has just been written first.
#[test]
fn what_a_point_read_shows_a_walk_shows() {
    explore(|| {
        let block = Block::over(&[]);
        let first = block.ready(0, |view| view.set(1, 20));
        let writer = beside(&block, move |block| block.publish(first).readers_end);
        let both = block.observe(1, |view| (view.get(&1), walk(view)));
        writer.join().unwrap();
        agreed(&block, 1, both, Some(20));
    });
}

/// A key that a walk has not shown is not shown by a point read of the same run; the run ends instead.
#[test]
fn what_a_walk_passed_over_a_point_read_does_not_show() {
    explore(|| {
        let block = Block::over(&[]);
        let first = block.ready(0, |view| view.set(1, 20));
        let writer = beside(&block, move |block| block.publish(first).readers_end);
        let both = block.observe(1, |view| {
            let walked = walk(view);
            (view.get(&1), walked)
        });
        writer.join().unwrap();
        agreed(&block, 1, both, Some(20));
    });
}

/// The answers of a run that begins when the block is committed further, beside the first write of a key, whether or not a
/// range had been walked before: the key's version may bear a moment before the run.
fn an_old_version(read: impl Fn(&View<'_>) -> (Answer, Result<Vec<(u8, i64)>, ViewError>) + Send + Sync + 'static) {
    let read = Arc::new(read);
    for walked_before in [false, true] {
        let read = Arc::clone(&read);
        explore(move || {
            let block = Block::over(&[]);
            let first = block.ready(1, |view| view.set(1, 20));
            if walked_before {
                assert!(walk(&block.view(0)).unwrap().is_empty());
            }
            let writer = beside(&block, move |block| block.publish(first).readers_end);
            block.store.frontier().advance(1);
            let both = block.observe(2, |view| read(view));
            writer.join().unwrap();
            agreed(&block, 2, both, Some(20));
        });
    }
}

#[test]
fn what_a_walk_passed_over_is_not_shown_for_being_old() {
    an_old_version(|view| {
        let walked = walk(view);
        (view.get(&1), walked)
    });
}

#[test]
fn what_is_shown_for_being_old_a_walk_shows() {
    an_old_version(|view| (view.get(&1), walk(view)));
}

/// A walk that comes across a key of the state below asks whether somebody has touched it.
#[test]
fn a_walk_finds_the_slot_of_a_key() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let touch = beside(&block, |block| {
            block.store.slots().intern(&1);
        });
        let find = beside(&block, |block| {
            let slot = block.store.slots().find(&1);
            assert!(slot.is_none_or(|slot| *block.store.slot(slot).key() == 1));
        });
        touch.join().unwrap();
        find.join().unwrap();
        assert!(block.store.slots().find(&1).is_some());
    });
}

/// A writer that finds its key listed by another may rely on it: whoever sees its version sees the key in a walk, whether or not
/// there is a directory. And of two who list it one does: it comes out once.
#[test]
fn a_key_that_another_lists_is_listed() {
    for walked_before in [false, true] {
        explore_within(2, move || {
            let block = Block::over(&[]);
            if walked_before {
                assert!(walk(&block.view(0)).unwrap().is_empty());
            }
            let others = [1, 2].map(|tx| {
                let written = block.ready(tx, |view| view.set(1, 20));
                beside(&block, move |block| drop(block.publish(written)))
            });
            block.store.frontier().advance(1);
            let both = block.observe(3, |view| (view.get(&1), walk(view)));
            for other in others {
                other.join().unwrap();
            }
            agreed(&block, 3, both, Some(20));
            let parts: Vec<_> = (0..LANES).flat_map(|lane| block.store.outcome_of(lane, 3)).collect();
            assert_eq!(parts, [(1, Op::Put(20))]);
        });
    }
}

/// A walk of keys beside a first write: it shows the key or not, and validation knows whether that is right.
#[test]
fn a_walk_beside_a_first_write_is_judged() {
    explore(|| {
        let block = Block::over(&[(3, 30)]);
        let first = block.ready(0, |view| view.set(1, 20));
        let writer = beside(&block, move |block| block.publish(first).readers_end);
        let walked = block.observe(1, keys);
        writer.join().unwrap();
        let found = walked.answer.as_ref().unwrap();
        assert!(*found == [3] || *found == [1, 3], "{found:?}");
        assert_eq!(block.holds(1, &walked), *found == [1, 3]);
    });
}

/// A walk beside the first version of a key that is listed for a higher transaction's: who wrote knows of a walk that missed it.
#[test]
fn a_walk_beside_a_lower_write_is_known() {
    explore(|| {
        let block = Block::over(&[]);
        block.run(2, |view| view.set(1, 50));
        let lower = block.ready(0, |view| view.set(1, 20));
        let writer = beside(&block, move |block| block.publish(lower).readers_end);
        let walked = block.observe(1, keys);
        let readers_end = writer.join().unwrap();
        let found = walked.answer.as_ref().unwrap();
        assert_eq!(block.holds(1, &walked), *found == [1], "{found:?}");
        assert!(*found == [1] || readers_end > 1, "nobody knows of the walk of {found:?}");
    });
}

/// A walk beside a next incarnation that writes one key and no longer the other: validation knows what was right, and
/// who wrote knows of the walk, since the keys it missed or saw had been listed.
#[test]
fn a_walk_beside_a_rewrite_is_judged() {
    explore(|| {
        let block = Block::over(&[]);
        block.run(2, |view| view.set(2, 50)); // lists the key, above the reader
        let first = block.run(0, |view| view.set(1, 20));
        let again = block.ready_again(0, &first, |view| view.set(2, 30));
        let writer = beside(&block, move |block| block.abort_and_publish(again).readers_end);
        let walked = block.observe(1, keys);
        let readers_end = writer.join().unwrap();
        match &walked.answer {
            Ok(found) => {
                assert_eq!(block.holds(1, &walked), *found == [2], "{found:?}");
                assert!(*found == [2] || readers_end > 1, "nobody knows of the walk of {found:?}");
            }
            Err(error) => assert!(matches!(error, ViewError::Blocked(0)), "{error:?}"),
        }
    });
}
