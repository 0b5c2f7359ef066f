//! Operands: resolved in order, settled at commit, checked even where nothing of them is left.

use super::*;
use crate::multiversion::{Taint, ViewError};
use proptest::prelude::*;

fn refused(block: &Block, tx: TxIndex, finished: &Finished<u32, i64, i64>) -> bool {
    match block.settle(tx, finished) {
        Ok(()) => false,
        Err(Unsettled::Refused(_)) => true,
        Err(Unsettled::Base(error)) => panic!("{error}"),
    }
}

#[test]
fn operands_resolve_down_to_a_put_a_delete_or_the_base() {
    let mut block = Block::over(&[(1, 10), (2, 20), (3, 30)]);
    block.run(0, |view| {
        view.set(1, 100);
        view.delete(2);
    });
    for tx in 1..4 {
        block.run(tx, |view| (1..5).for_each(|key| view.merge(key, i64::from(tx)).unwrap()));
    }
    assert_eq!(walk(&block.view(4)), [(1, 106), (2, 6), (3, 36), (4, 6)]);
    assert_eq!(walk(&block.view(2)), [(1, 101), (2, 1), (3, 31), (4, 1)]);
}

/// Appends digits: the order shows.
struct Digits;
impl MergeOperator<u32, i64> for Digits {
    type Operand = i64;
    fn merge(_: &u32, base: Option<&i64>, operand: &i64) -> i64 {
        base.copied().unwrap_or(0) * 10 + operand
    }
}

#[test]
fn operands_apply_in_block_order_and_in_the_order_given() {
    let base = MemStore::from_iter([(1, 9)]).snapshot().unwrap().into_dyn();
    let store: MultiVersionStore<u32, i64, Digits> = MultiVersionStore::new(base, 0, Arc::default());
    for (tx, digits) in [(1, [3, 4]), (0, [1, 2])] {
        let view = TxView::speculative(&store, Version { tx, incarnation: 0 }, ReadSet::new());
        digits.into_iter().for_each(|digit| view.merge(1, digit).unwrap());
        let writes = view.finish().writes.into_vec();
        let mut placed = Written::default();
        store.place(&writes, &mut placed);
        store.publish(Version { tx, incarnation: 0 }, writes, &placed, &Written::default());
    }
    let view: TxView<'_, u32, i64, Digits> =
        TxView::speculative(&store, Version { tx: 2, incarnation: 0 }, ReadSet::new());
    view.merge(1, 5).unwrap();
    assert_eq!(view.get(&1).unwrap(), Some(912_345));
}

#[test]
fn commit_settles_operands_into_puts() {
    let mut block = Block::over(&[(1, 10)]);
    let finished = [block.run(0, |view| view.merge(1, 1).unwrap()), block.run(1, |view| view.merge(1, 2).unwrap())];
    let reads = block.observe(2, |view| assert_eq!(get(view, 1), Some(13)));
    for (tx, finished) in (0..).zip(&finished) {
        assert!(!refused(&block, tx, finished));
        assert!(block.holds(2, &reads), "settling changes no value");
        assert_eq!(block.outcome(tx + 1), [(1, Op::Put([11, 13][tx as usize]))]);
    }
}

#[test]
fn one_refusal_settles_nothing_of_the_transaction() {
    let mut block = Block::over(&[(1, 10), (2, 20)]);
    let finished = block.run(0, |view| {
        view.merge(1, 1).unwrap();
        view.merge(2, -21).unwrap();
    });
    assert!(refused(&block, 0, &finished));
    assert_eq!(block.outcome(1), [], "operands are still operands");
}

proptest! {
    /// Two blocks commit the same, and one keeps back what operands come to: every answer between is the same, and so is what
    /// is left.
    #[test]
    fn what_is_kept_back_from_the_chains_changes_no_answer(
        block in prop::collection::vec(prop::collection::vec((0u32..7, -4i64..9), 1..5), 1..60),
    ) {
        let base = [(0, 3), (1, 5), (2, 0)];
        let (mut told, mut kept) = (Block::over(&base), Block::over(&base));
        let mut settlement = Settlement::keeping();
        for (tx, deeds) in (0..).zip(&block) {
            let script = |view: &View<'_>| {
                for (key, deed) in deeds {
                    match deed {
                        7 => view.set(*key, 2),
                        8 => view.delete(*key),
                        operand => drop(view.merge(*key, *operand)), // over its own put it is refused at once
                    }
                }
            };
            let (left, right) = (told.run(tx, script), kept.run(tx, script));
            let refused = told.settle(tx, &left).is_err();
            prop_assert_eq!(kept.settle_in(tx, &right, &mut settlement).is_err(), refused);
            if refused {
                // It is executed again, and does something else.
                for block in [&mut told, &mut kept] {
                    block.abort(tx);
                    block.run(tx, |view| view.set(9, i64::from(tx)));
                }
            }
            prop_assert_eq!(walk(&kept.view(tx + 1)), walk(&told.view(tx + 1)));
        }
        let end = block.len() as TxIndex;
        kept.store.settle_rest(settlement);
        prop_assert_eq!(kept.outcome(end), told.outcome(end));
    }
}

#[test]
fn operands_that_combine_are_one() {
    let mut block = Block::over(&[(1, 10)]);
    let view = block.view(0);
    (0..100).for_each(|_| view.merge(1, 1).unwrap());
    view.merge(1, -5).unwrap();
    let writes = view.finish().writes;
    let left = writes.into_vec();
    assert!(matches!(&left[..], [(1, super::super::Write::Merge(operands))] if operands[..] == [100, -5]), "{left:?}");
    let finished = block.run(0, |view| {
        view.merge(1, -6).unwrap();
        view.merge(1, -4).unwrap();
    });
    assert!(!refused(&block, 0, &finished));
    let finished = block.run(0, |view| {
        view.merge(1, -6).unwrap();
        view.merge(1, -5).unwrap();
    });
    assert!(refused(&block, 0, &finished));
}

#[test]
fn operands_overwritten_or_rolled_back_are_checked() {
    type Run = fn(&View<'_>);
    let runs: [(Run, bool); 8] = [
        (|view| view.set(1, 0), false),
        (|view| view.delete(1), false),
        (|view| view.merge(1, 1).unwrap(), false),
        (
            |view| {
                let savepoint = view.savepoint();
                view.merge(1, -11).unwrap();
                view.roll_back(savepoint).unwrap();
            },
            true,
        ),
        (
            |view| {
                let savepoint = view.savepoint();
                view.merge(1, -10).unwrap();
                view.roll_back(savepoint).unwrap();
                view.merge(1, -10).unwrap(); // each for itself
            },
            false,
        ),
        (
            |view| {
                view.merge(1, -4).unwrap();
                let savepoint = view.savepoint();
                view.merge(1, -7).unwrap(); // combined with what is outside
                view.roll_back(savepoint).unwrap();
            },
            true,
        ),
        (
            |view| {
                let savepoint = view.savepoint();
                view.merge(1, -11).unwrap();
                view.release(savepoint).unwrap();
                view.set(1, 0);
            },
            true,
        ),
        (
            |view| {
                view.set(1, 11);
                view.merge(1, -11).unwrap(); // over its own put: known at once
            },
            false,
        ),
    ];
    for (at, (run, expected)) in runs.into_iter().enumerate() {
        let mut block = Block::over(&[(1, 10)]);
        let finished = block.run(0, run);
        assert_eq!(refused(&block, 0, &finished), expected, "{at}");
    }
}

#[test]
fn a_refusal_seen_by_a_read_ends_the_run() {
    let block = Block::over(&[(1, 10)]);
    let view = block.view(3);
    view.merge(1, -11).unwrap();
    assert!(matches!(view.get(&1), Err(ViewError::Interrupted)));
    assert!(matches!(view.finish().taint, Some(Taint::Refused)));
}

#[test]
fn at_the_frontier_a_refusal_is_told_at_once_and_writes_nothing() {
    let block = Block::over(&[(1, 10)]);
    let view: View<'_> = TxView::at_frontier(&block.store, Version { tx: 0, incarnation: 0 });
    assert!(matches!(view.merge(1, -11), Err(ViewError::Refused { .. })));
    view.merge(1, -4).unwrap();
    assert!(matches!(view.merge(1, -7), Err(ViewError::Refused { .. })));
    assert_eq!(get(&view, 1), Some(6));
    let finished = view.finish();
    assert!(finished.taint.is_none() && finished.obligations.is_empty() && finished.reads.len() == 0);
}
