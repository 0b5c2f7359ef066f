//! What a transaction sees of those before it, and what is left of executions that were repeated.

use super::*;
use crate::multiversion::ViewError;

#[test]
fn a_transaction_sees_those_before_it_and_not_itself_nor_later_ones() {
    let mut block = Block::over(&[(1, 10)]);
    block.run(5, |view| view.set(1, 15));
    block.run(2, |view| view.set(1, 12));
    let seen: Vec<_> = [0, 2, 3, 5, 6, 9].into_iter().map(|tx| get(&block.view(tx), 1).unwrap()).collect();
    assert_eq!(seen, [10, 10, 12, 12, 15, 15]);
}

#[test]
fn a_tombstone_hides_from_those_after_it() {
    let mut block = Block::over(&[(1, 10), (2, 20)]);
    block.run(4, |view| view.delete(1));
    assert_eq!((get(&block.view(4), 1), get(&block.view(5), 1)), (Some(10), None));
    assert_eq!((keys(&block.view(4)), keys(&block.view(5))), (vec![1, 2], vec![2]));
    assert_eq!((block.view(4).contains(&1).unwrap(), block.view(5).contains(&1).unwrap()), (true, false));
}

#[test]
fn a_later_incarnation_replaces_an_earlier_one() {
    let mut block = Block::over(&[]);
    block.run(1, |view| {
        view.set(1, 1);
        view.set(2, 1);
    });
    block.run(1, |view| view.set(2, 2));
    assert_eq!(walk(&block.view(2)), [(2, 2)]);
    assert_eq!(block.outcome(2), [(2, Op::Put(2))]);
}

#[test]
fn a_removed_write_restores_the_one_below() {
    let mut block = Block::over(&[]);
    block.run(1, |view| view.set(1, 1));
    block.run(2, |view| view.set(1, 2));
    let reads = block.observe(3, |view| assert_eq!(get(view, 1), Some(2)));
    block.run(2, |_| {});
    assert_eq!(get(&block.view(3), 1), Some(1));
    assert!(!block.holds(3, &reads));
}

#[test]
fn an_estimate_blocks_those_after_it_until_it_is_written_or_not() {
    let mut block = Block::over(&[(1, 10)]);
    block.run(2, |view| {
        view.set(1, 1);
        view.delete(2);
        view.merge(3, 1).unwrap();
    });
    block.abort(2);
    for key in 1..4 {
        assert!(matches!(block.view(3).get(&key), Err(ViewError::Blocked(2))), "key {key}");
        assert!(matches!(block.view(3).contains(&key), Err(ViewError::Blocked(2))), "key {key}");
        assert!(matches!(block.view(3).keys(key..).next(), Some(Err(ViewError::Blocked(2)))), "key {key}");
        assert!(block.view(2).get(&key).is_ok(), "its own estimates block nobody");
    }
    block.run(2, |view| view.set(1, 1));
    assert_eq!(walk(&block.view(3)), [(1, 1)]);
}

#[test]
fn an_estimate_invalidates_what_was_read_there() {
    let mut block = Block::over(&[(1, 10)]);
    block.run(2, |view| view.set(1, 1));
    let [point, range, exists] = [
        block.observe(3, |view| get(view, 1)),
        block.observe(3, walk),
        block.observe(3, |view| view.contains(&1).unwrap()),
    ];
    let below = block.observe(2, |view| get(view, 1));
    block.abort(2);
    assert!(!block.holds(3, &point) && !block.holds(3, &range) && !block.holds(3, &exists));
    assert!(block.holds(2, &below));
}

#[test]
fn an_estimate_below_operands_blocks_who_reads_them_and_not_who_asks_for_existence() {
    let mut block = Block::over(&[]);
    block.run(1, |view| view.set(1, 1));
    block.run(2, |view| view.merge(1, 1).unwrap());
    block.abort(1);
    assert!(matches!(block.view(3).get(&1), Err(ViewError::Blocked(1))));
    assert!(block.view(3).contains(&1).unwrap());
    assert_eq!(keys(&block.view(3)), [1]);
}

#[test]
fn a_predicted_estimate_goes_when_the_run_does_not_write_there() {
    let mut block = Block::over(&[(1, 10)]);
    block.ran.insert(0, (block.store.predict(0, &[1, 2]), 0));
    assert!(matches!(block.view(1).get(&1), Err(ViewError::Blocked(0))));
    block.run(0, |view| view.set(2, 2));
    assert_eq!(walk(&block.view(1)), [(1, 10), (2, 2)]);
}

#[test]
fn the_writer_learns_who_has_read_before() {
    let mut block = Block::over(&[(1, 10)]);
    drop(block.observe(7, |view| get(view, 1)));
    drop(block.observe(70, |view| view.contains(&2).unwrap()));
    let put = |key| std::iter::once((key, super::super::Write::Put(0)));
    assert_eq!(block.publish(2, put(1)), 64, "sixty-four share a note");
    assert_eq!(block.publish(2, put(2)), 128, "and who had read the key it wrote before and does not now");
    assert_eq!(block.publish(3, put(2)), 128);
    assert_eq!(block.publish(3, std::iter::empty()), 128);
    drop(block.observe(139, keys));
    assert_eq!(block.publish(3, put(33)), 140, "who walks may meet any key");
}

#[test]
fn the_outcome_is_that_of_those_below_the_end() {
    let mut block = Block::over(&[(1, 10)]);
    block.run(0, |view| view.set(1, 1));
    block.run(1, |view| view.delete(1));
    block.run(2, |view| view.set(2, 2));
    assert_eq!(block.outcome(0), []);
    assert_eq!(block.outcome(1), [(1, Op::Put(1))]);
    assert_eq!(block.outcome(3), [(1, Op::Delete), (2, Op::Put(2))]);
}

#[test]
fn an_interrupted_block_answers_nothing_and_says_so_for_ever() {
    let block = Block::over(&[(1, 10)]);
    let view = block.view(0);
    assert_eq!(get(&view, 1), Some(10));
    block.interrupt();
    assert!(matches!(view.get(&1), Err(ViewError::Interrupted)));
    assert!(matches!(view.range(..).next(), Some(Err(ViewError::Interrupted))));
    assert!(matches!(view.check(), Err(ViewError::Interrupted)));
    assert!(view.finish().taint.is_some());
}
