//! Versions of one key beside a point read; the base value; the reader's mark.

use super::*;

/// What is left of a point read of key 1 by transaction 1 when `tx 0` is done and the key's value is `last`: it gave one of
/// `versions` or named the transaction to wait for, validation knows whether it still holds, and if it does not, the last
/// to write was told of this reader (`readers_end`).
fn judged(block: &Block, read: &Observed<Answer>, versions: &[Option<i64>], last: Option<i64>, readers_end: TxIndex) {
    match &read.answer {
        Ok(value) => {
            assert!(versions.contains(value), "{value:?} was never there");
            assert_eq!(block.holds(1, read), *value == last, "validation is wrong about {value:?}");
            assert!(*value == last || readers_end > 1, "nobody knows of the reader of {value:?}");
        }
        Err(error) => assert!(matches!(error, ViewError::Blocked(0)), "{error:?}"),
    }
}

/// A point read beside the first version of its key: it reads the base or the version; who wrote knows of it.
#[test]
fn a_read_beside_a_first_write() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let first = block.ready(0, |view| view.set(1, 20));
        let writer = beside(&block, move |block| block.publish(first).readers_end);
        let read = block.observe(1, |view| view.get(&1));
        let readers_end = writer.join().unwrap();
        judged(&block, &read, &[Some(10), Some(20)], Some(20), readers_end);
    });
}

/// A point read beside an abort and the next incarnation, which writes another value.
#[test]
fn a_read_beside_a_rewrite() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let first = block.run(0, |view| view.set(1, 20));
        let again = block.ready_again(0, &first, |view| view.set(1, 30));
        let writer = beside(&block, move |block| block.abort_and_publish(again).readers_end);
        let read = block.observe(1, |view| view.get(&1));
        let readers_end = writer.join().unwrap();
        judged(&block, &read, &[Some(20), Some(30)], Some(30), readers_end);
    });
}

/// A point read beside all of it: first version, abort, next incarnation.
#[test]
fn a_read_beside_a_write_an_abort_and_a_rewrite() {
    explore(|| {
        let block = Block::over(&[]);
        let first = block.ready(0, |view| view.set(1, 20));
        let again = block.ready_as(Version { tx: 0, incarnation: 1 }, |view| view.delete(1));
        let writer = beside(&block, move |block| {
            let previous = block.publish(first).written;
            block.abort_and_publish(Ready { previous, ..again }).readers_end
        });
        let read = block.observe(1, |view| view.get(&1));
        let readers_end = writer.join().unwrap();
        // Absent before, by the base, and after, by the tombstone: the same value from elsewhere still holds.
        judged(&block, &read, &[None, Some(20)], None, readers_end);
    });
}

/// A point read beside a next incarnation that does not write the key: its version goes, and the base shows again.
#[test]
fn a_read_beside_a_removal() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let first = block.run(0, |view| view.set(1, 20));
        let again = block.ready_again(0, &first, |_| ());
        let writer = beside(&block, move |block| block.abort_and_publish(again).readers_end);
        let read = block.observe(1, |view| view.get(&1));
        let readers_end = writer.join().unwrap();
        judged(&block, &read, &[Some(10), Some(20)], Some(10), readers_end);
    });
}

/// Existence, asked beside a first write and its removal, is judged by existence alone.
#[test]
fn existence_beside_a_rewrite() {
    explore(|| {
        let block = Block::over(&[]);
        let first = block.run(0, |view| view.set(1, 20));
        let again = block.ready_again(0, &first, |view| view.set(1, 30));
        let writer = beside(&block, move |block| block.abort_and_publish(again).readers_end);
        let read = block.observe(1, |view| view.contains(&1));
        writer.join().unwrap();
        match &read.answer {
            Ok(exists) => assert!(*exists && block.holds(1, &read)),
            Err(error) => assert!(matches!(error, ViewError::Blocked(0)), "{error:?}"),
        }
    });
}

/// Existence beside a removal: who removed knows of the reader.
#[test]
fn existence_beside_a_removal() {
    explore(|| {
        let block = Block::over(&[]);
        let first = block.run(0, |view| view.set(1, 20));
        let again = block.ready_again(0, &first, |_| ());
        let writer = beside(&block, move |block| block.abort_and_publish(again).readers_end);
        let read = block.observe(1, |view| view.contains(&1));
        let readers_end = writer.join().unwrap();
        match &read.answer {
            Ok(exists) => {
                assert_eq!(block.holds(1, &read), !exists);
                assert!(!exists || readers_end > 1, "nobody knows of the reader");
            }
            Err(error) => assert!(matches!(error, ViewError::Blocked(0)), "{error:?}"),
        }
    });
}

/// Two transactions write a key at once: a later one reads the higher, one between them the lower.
#[test]
fn two_writers_of_one_key() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let (lower, higher) = (block.ready(0, |view| view.set(1, 20)), block.ready(1, |view| view.set(1, 30)));
        let lower = beside(&block, move |block| block.publish(lower).readers_end);
        let higher = beside(&block, move |block| block.publish(higher).readers_end);
        let read = block.observe(2, |view| view.get(&1));
        let ends = [lower.join().unwrap(), higher.join().unwrap()];
        let value = *read.answer.as_ref().unwrap();
        assert!([Some(10), Some(20), Some(30)].contains(&value));
        assert_eq!(block.holds(2, &read), value == Some(30));
        assert!(value == Some(30) || ends[1] > 2, "nobody knows of the reader");
        assert_eq!(block.view(1).get(&1).unwrap(), Some(20));
        assert_eq!(block.outcome(2), [(1, Op::Put(30))]);
    });
}

/// Whoever touches a key first, all get the same slot, another than that of another key; and it is found from then on.
fn one_slot_a_key(taken: u8) {
    explore(move || {
        let block = Block::over(&[]);
        for key in 0..taken {
            block.store.slots().intern(&(100 + key));
        }
        let touch = |key: u8| move |block: &Block| block.store.slots().intern(&key).0;
        let others = [beside(&block, touch(1)), beside(&block, touch(2))];
        let here = touch(1)(&block);
        let [same, other] = others.map(|other| other.join().unwrap());
        assert_eq!(here, same, "two slots for one key");
        assert_ne!(here, other, "one slot for two keys");
        let slots = block.store.slots();
        assert_eq!((slots.find(&1), slots.find(&2), slots.find(&3)), (Some(here), Some(other), None));
        assert_eq!(*slots.slot(other).key(), 2);
    });
}

#[test]
fn a_key_has_one_slot() {
    one_slot_a_key(0);
}

/// The same where most places of the table are taken, and where all are.
#[test]
fn a_key_has_one_slot_in_a_full_table() {
    one_slot_a_key(3);
    one_slot_a_key(16);
}

/// A write beside a run that begins when the block is committed further: what has not changed since the run began has not
/// changed since it looked.
#[test]
fn what_changes_after_a_look_is_later() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let write = block.ready(1, |view| view.set(1, 20));
        let writer = beside(&block, move |block| drop(block.publish(write)));
        block.store.frontier().advance(1); // transaction 0 wrote nothing
        let read = block.observe(2, |view| view.get(&1));
        writer.join().unwrap();
        let current = *read.answer.as_ref().unwrap() == Some(20);
        assert_eq!(block.holds(2, &read), current);
    });
}

/// The same of a version that is taken back.
#[test]
fn what_goes_after_a_look_is_later() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let first = block.run(1, |view| view.set(1, 20));
        let again = block.ready_again(1, &first, |_| ());
        let writer = beside(&block, move |block| drop(block.publish(again)));
        block.store.frontier().advance(1);
        let read = block.observe(2, |view| view.get(&1));
        writer.join().unwrap();
        let current = *read.answer.as_ref().unwrap() == Some(10);
        assert_eq!(block.holds(2, &read), current);
    });
}

/// Who sees how far the block is committed reads what was.
#[test]
fn what_is_committed_is_read() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let write = block.ready(0, |view| view.set(1, 20));
        let writer = beside(&block, move |block| {
            block.publish(write);
            block.store.frontier().advance(1);
        });
        let committed = block.store.frontier().begin() == 1;
        let read = block.view(1).get(&1).unwrap();
        assert!(read == Some(20) || !committed, "{read:?} after the commit");
        writer.join().unwrap();
    });
}

/// The base value of a key is read once, whoever needs it at once and for what.
#[test]
fn the_base_is_read_once() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let value = beside(&block, |block| block.view(1).get(&1).unwrap());
        let exists = beside(&block, |block| block.view(2).contains(&1).unwrap());
        assert_eq!(block.view(3).get(&1).unwrap(), Some(10));
        assert_eq!((value.join().unwrap(), exists.join().unwrap()), (Some(10), true));
        assert_eq!(block.reads.load(std::sync::atomic::Ordering::Relaxed), 1);
    });
}

/// Two that read at once, whichever begins: the mark tells of the higher.
fn the_higher_is_remembered(read: fn(&View<'_>)) {
    for (here, there) in [(1, 2), (2, 1)] {
        explore(move || {
            let block = Block::over(&[(1, 10)]);
            let other = beside(&block, move |block| read(&block.view(there)));
            read(&block.view(here));
            other.join().unwrap();
            assert_eq!(block.run(0, |view| view.set(1, 20)).readers_end, 3);
        });
    }
}

/// Of several who read a key at once the highest is remembered.
#[test]
fn the_highest_reader_is_remembered() {
    the_higher_is_remembered(|view| assert_eq!(view.get(&1).unwrap(), Some(10)));
}

/// Of several who walk ranges at once the highest is remembered.
#[test]
fn the_highest_walker_is_remembered() {
    the_higher_is_remembered(|view| assert_eq!(keys(view).unwrap(), [1]));
}

/// The outcome of a transaction that is executed elsewhere: until it arrives its readers wait; then they read it, or what lies
/// below if it did not write. Whoever had an answer has the last one, so nobody else is concerned.
fn an_arrival(write: Option<Write<i64, i64>>, last: i64) {
    explore(move || {
        let block = Block::over(&[(1, 10)]);
        block.store.predict(0, [&1]);
        let write = write.clone();
        let arrival = beside(&block, move |block| block.store.resolve_elsewhere(0, &1, write));
        let read = block.observe(1, |view| view.get(&1));
        let both = block.observe(2, |view| Ok::<_, ViewError>((view.contains(&1)?, walk(view)?)));
        arrival.join().unwrap();
        match &read.answer {
            Ok(value) => assert!(*value == Some(last) && block.holds(1, &read)),
            Err(error) => assert!(matches!(error, ViewError::Blocked(0)), "{error:?}"),
        }
        match &both.answer {
            Ok(found) => assert!(*found == (true, vec![(1, last)]) && block.holds(2, &both)),
            Err(error) => assert!(matches!(error, ViewError::Blocked(0)), "{error:?}"),
        }
        assert_eq!(block.view(1).get(&1).unwrap(), Some(last));
    });
}

/// A value from elsewhere arrives beside its readers.
#[test]
fn a_value_arrives_from_elsewhere() {
    an_arrival(Some(Write::Put(20)), 20);
}

/// Word that nothing was written arrives beside those who wait for it.
#[test]
fn nothing_arrives_from_elsewhere() {
    an_arrival(None, 10);
}
