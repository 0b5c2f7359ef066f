//! Operands beside reads that resolve them, and their settlement at commit.

use super::*;

/// Operands that arrive one below the other, beside a read that resolves them: it gives a sum that was there, and
/// validation knows whether it is the last one.
#[test]
fn a_read_beside_two_merges() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let merges = [(0, 1), (1, 2)].map(|(tx, operand)| {
            let merged = block.ready(tx, |view| view.merge(1, operand).unwrap());
            beside(&block, move |block| block.publish(merged).readers_end)
        });
        let read = block.observe(2, |view| view.get(&1));
        let readers_end = merges.map(|merge| merge.join().unwrap()).into_iter().max().unwrap();
        let value = read.answer.as_ref().unwrap().unwrap();
        assert!((10..=13).contains(&value), "{value}");
        assert_eq!(block.holds(2, &read), value == 13);
        assert!(value == 13 || readers_end > 2, "nobody knows of the reader of {value}");
    });
}

/// A put that arrives below an operand, and the settlement that follows, beside a read that resolves the operand.
#[test]
fn a_read_beside_a_put_below_and_its_settlement() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let merged = block.run(1, |view| view.merge(1, -15).unwrap()); // not admitted over the base
        let put = block.ready(0, |view| view.set(1, 20));
        let below = beside(&block, move |block| {
            let readers_end = block.publish(put).readers_end;
            block.settle(1, &merged);
            readers_end
        });
        let read = block.observe(2, |view| view.get(&1));
        let readers_end = below.join().unwrap();
        let value = read.answer.as_ref().unwrap().unwrap();
        assert!([-5, 5].contains(&value), "{value}");
        assert_eq!(block.holds(2, &read), value == 5);
        assert!(value == 5 || readers_end > 2, "nobody knows of the reader of {value}");
        assert_eq!(block.outcome(2), [(1, Op::Put(5))]);
    });
}

/// A settlement changes no answer: what is read beside it, by key and by range, holds before and after.
#[test]
fn a_settlement_changes_no_answer() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let merged = block.run(0, |view| view.merge(1, 1).unwrap());
        let settlement = beside(&block, move |block| block.settle(0, &merged));
        let read = block.observe(1, |view| (walk(view).unwrap(), view.get(&1).unwrap(), view.contains(&1).unwrap()));
        assert_eq!(read.answer, (vec![(1, 11)], Some(11), true));
        assert!(block.holds(1, &read));
        settlement.join().unwrap();
        assert!(block.holds(1, &read));
    });
}

/// What is settled at the frontier, obligations included, does not depend on what those above write meanwhile.
#[test]
fn a_settlement_does_not_look_up() {
    explore(|| {
        let block = Block::over(&[(1, 10), (2, 5)]);
        let merged = block.run(0, |view| {
            view.merge(1, -10).unwrap();
            view.merge(2, -5).unwrap(); // owed, though overwritten
            view.set(2, 7);
        });
        let above = block.ready(1, |view| {
            view.set(1, 0);
            view.merge(2, -1).unwrap();
        });
        let above = beside(&block, move |block| drop(block.publish(above)));
        block.settle(0, &merged);
        assert_eq!(block.outcome(1), [(1, Op::Put(0)), (2, Op::Put(7))]);
        above.join().unwrap();
        assert_eq!(block.outcome(1), [(1, Op::Put(0)), (2, Op::Put(7))]);
    });
}
