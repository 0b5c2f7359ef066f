//! Transactions that are executed elsewhere.

use crate::acts::*;
use cachekv::executor::{Cause, Elsewhere, Options, ResolveError};
use cachekv::kv::Op;
use std::time::{Duration, Instant};

type Places = Elsewhere<Key, Value>;

#[expect(clippy::result_large_err, reason = "it is taken apart at once")]
fn run(threads: usize, places: &Places, block: &[Act], within: Duration) -> Result<Output, (Cause<Failure>, Output)> {
    let executor = crate::acts::sharing(threads);
    let options =
        Options { elsewhere: Some(places.clone()), deadline: Some(Instant::now() + within), ..Options::default() };
    executor.execute_with(&base(&[(1, 10), (2, 20)]), block, &Acts, options).map_err(|e| (e.cause, e.committed))
}

const LONG: Duration = Duration::from_secs(60);

/// Reads keys 1 and 2 and counts all.
fn reader() -> Act {
    act(|view| Ok(vec![of(view.get(&1)?), of(view.get(&2)?), view.keys(..).count() as Value]))
}

#[test]
fn resolved_before_the_block_begins() {
    for threads in [1, 2] {
        let places = Elsewhere::new([(0, vec![1, 2, 3])]);
        places.resolve(0, &1, Some(Op::Put(11))).unwrap();
        places.resolve(0, &2, Some(Op::Delete)).unwrap();
        places.resolve(0, &3, None).unwrap();
        let done = run(threads, &places, &[reader()], LONG).unwrap();
        assert_eq!((done.outputs, done.committed), (vec![vec![11, -1, 1]], 2));
        assert_eq!(done.batch.into_iter().collect::<Vec<_>>(), [(1, Op::Put(11)), (2, Op::Delete)]);
    }
}

#[test]
fn resolved_while_the_block_runs() {
    for threads in [1, 3] {
        let places = Elsewhere::new([(1, vec![1, 2]), (3, vec![1])]);
        let met = Signal::default();
        let waits = met.clone();
        let resolver = places.clone();
        let first = act(|view| {
            view.set(1, 0);
            Ok(vec![])
        });
        let waiting = act(move |view| {
            let _met = met.raised_at_the_end();
            Ok(vec![of(view.get(&1)?), of(view.get(&2)?)])
        });
        let other = std::thread::spawn(move || {
            waits.wait(); // for the first run below to have come back without an answer
            resolver.resolve(3, &1, Some(Op::Put(33))).unwrap();
            resolver.resolve(1, &2, None).unwrap();
            resolver.resolve(1, &1, Some(Op::Put(11))).unwrap();
        });
        let done = run(threads, &places, &[first, waiting, reader()], LONG).unwrap();
        other.join().unwrap();
        assert_eq!((done.outputs, done.committed), (vec![vec![], vec![11, 20], vec![33, 20, 2]], 5));
        assert!(done.stats.aborts.blocked >= 1);
    }
}

#[test]
fn a_reader_of_other_keys_does_not_wait() {
    let places = Elsewhere::new([(0, vec![1])]);
    let (ran, resolver) = (Signal::default(), places.clone());
    let waits = ran.clone();
    let other = std::thread::spawn(move || {
        waits.wait(); // it runs although the place owes a key: else this would wait for ever
        resolver.resolve(0, &1, None).unwrap();
    });
    let block = [act(move |view| {
        let answer = vec![of(view.get(&2)?)];
        ran.raise();
        Ok(answer)
    })];
    assert_eq!(run(1, &places, &block, LONG).unwrap().outputs, [[20]]);
    other.join().unwrap();
}

#[test]
fn what_was_not_declared_is_refused() {
    let places: Places = Elsewhere::new([(0, vec![1])]);
    let undeclared = |index, key: Key| Err(ResolveError::Undeclared { index, key: key.to_string() });
    assert_eq!(places.resolve(0, &2, None), undeclared(0, 2));
    assert_eq!(places.resolve(1, &1, None), undeclared(1, 1));
    assert_eq!(places.resolve(0, &1, None), Ok(()));
}

#[test]
fn what_is_repeated_is_refused_and_the_first_stays() {
    let places = Elsewhere::new([(0, vec![1, 1])]);
    places.resolve(0, &1, Some(Op::Put(11))).unwrap();
    let repeated = Err(ResolveError::Repeated { index: 0, key: "1".to_owned() });
    assert_eq!(places.resolve(0, &1, Some(Op::Put(12))), repeated);
    assert_eq!(run(2, &places, &[reader()], LONG).unwrap().outputs, [[11, 20, 2]]);
}

#[test]
fn the_deadline_names_the_place() {
    for threads in [1, 2] {
        let places = Elsewhere::new([(1, vec![2]), (2, vec![1])]);
        let block = [act(|view| Ok(vec![of(view.get(&1)?)])), reader()];
        places.resolve(1, &2, None).unwrap();
        let (cause, committed) = run(threads, &places, &block, Duration::from_millis(50)).unwrap_err();
        assert_eq!(cause, Cause::Deadline { waiting_for: Some(2) });
        assert_eq!((committed.committed, committed.outputs), (2, vec![vec![10]]));
    }
}

#[test]
fn the_deadline_names_no_place_that_the_block_has_not_come_to() {
    let places = Elsewhere::new([(1, vec![2])]);
    let block = [act(|view| {
        loop {
            view.check()?;
        }
    })];
    let (cause, _) = run(2, &places, &block, Duration::from_millis(50)).unwrap_err();
    assert_eq!(cause, Cause::Deadline { waiting_for: None });
}

#[test]
fn all_places_may_be_elsewhere() {
    for threads in [1, 2] {
        let places = Elsewhere::new((0..10).map(|index| (index, vec![1, index + 10])));
        let resolver = places.clone();
        let other = std::thread::spawn(move || {
            for index in (0..10).rev() {
                resolver.resolve(index, &1, Some(Op::Put(index.into()))).unwrap();
                resolver.resolve(index, &(index + 10), None).unwrap();
            }
        });
        let done = run(threads, &places, &[], LONG).unwrap();
        other.join().unwrap();
        assert_eq!((done.committed, done.outputs.len(), done.stats.transactions), (10, 0, 0));
        assert_eq!(done.batch.into_iter().collect::<Vec<_>>(), [(1, Op::Put(9))]);
    }
}

#[test]
fn the_first_and_the_last_place_may_be_elsewhere() {
    for threads in [1, 2] {
        let places = Elsewhere::new([(0, vec![1]), (2, vec![2])]);
        places.resolve(2, &2, Some(Op::Put(22))).unwrap();
        places.resolve(0, &1, Some(Op::Put(11))).unwrap();
        let done = run(threads, &places, &[reader()], LONG).unwrap();
        assert_eq!((done.outputs, done.committed), (vec![vec![11, 20, 2]], 3));
        assert_eq!(done.batch.into_iter().collect::<Vec<_>>(), [(1, Op::Put(11)), (2, Op::Put(22))]);
    }
}

#[test]
fn a_place_that_writes_nothing_owes_nothing() {
    let places = Elsewhere::new([(0, vec![]), (2, vec![])]);
    assert_eq!(run(1, &places, &[reader()], LONG).unwrap().committed, 3);
    assert_eq!(run(1, &Elsewhere::new([]), &[reader()], LONG).unwrap().committed, 1);
    assert_eq!(run(2, &Elsewhere::new([(0, vec![])]), &[], LONG).unwrap().committed, 1);
}

#[test]
fn a_place_beyond_the_end_is_refused() {
    let (cause, _) = run(1, &Elsewhere::new([(2, vec![1])]), &[reader()], LONG).unwrap_err();
    assert!(matches!(cause, Cause::Malformed(_)), "{cause:?}");
}

#[test]
fn outcomes_serve_one_block() {
    let places = Elsewhere::new([(0, vec![1])]);
    places.resolve(0, &1, None).unwrap();
    assert!(run(1, &places, &[reader()], LONG).is_ok());
    let (cause, _) = run(1, &places, &[reader()], LONG).unwrap_err(); // and not a wait without an end
    assert!(matches!(cause, Cause::Malformed(_)), "{cause:?}");
}

#[test]
fn places_and_transactions_interleave_in_any_order_of_arrival() {
    // Every other place is elsewhere and adds one to key 1, as far as the others can tell.
    for round in 0..200u32 {
        let places = Elsewhere::new((0..10).map(|at| (2 * at, vec![1])));
        let resolver = places.clone();
        let other = std::thread::spawn(move || {
            for at in 0..10 {
                let at = (at * 3 + round) % 10;
                resolver.resolve(2 * at, &1, Some(Op::Put(Value::from(at) * 100))).unwrap();
            }
        });
        let block: Vec<Act> = (0..10)
            .map(|_| {
                act(|view| {
                    let value = of(view.get(&1)?);
                    view.set(1, value + 1);
                    Ok(vec![value])
                })
            })
            .collect();
        let done = run(2, &places, &block, LONG).unwrap();
        other.join().unwrap();
        assert_eq!(done.outputs.concat(), (0..10).map(|at| at * 100).collect::<Vec<_>>());
        assert_eq!(done.batch.get(&1), Some(&Op::Put(901)));
    }
}
