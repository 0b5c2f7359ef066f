//! Transactions that are executed elsewhere.

use crate::acts::*;
use cachekv::executor::{Cause, Effect, Elsewhere, Options, ResolveError};
use cachekv::kv::Op;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

type Places = Elsewhere<Key, Value, i64>;

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
        places.resolve(0, &1, Effect::Put(11)).unwrap();
        places.resolve(0, &2, Effect::Delete).unwrap();
        places.resolve(0, &3, Effect::NotWritten).unwrap();
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
            resolver.resolve(3, &1, Effect::Put(33)).unwrap();
            resolver.resolve(1, &2, Effect::NotWritten).unwrap();
            resolver.resolve(1, &1, Effect::Put(11)).unwrap();
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
        resolver.resolve(0, &1, Effect::NotWritten).unwrap();
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
    assert_eq!(places.resolve(0, &2, Effect::NotWritten), undeclared(0, 2));
    assert_eq!(places.resolve(1, &1, Effect::NotWritten), undeclared(1, 1));
    assert_eq!(places.resolve(0, &1, Effect::NotWritten), Ok(()));
}

#[test]
fn what_is_repeated_is_refused_and_the_first_stays() {
    let places = Elsewhere::new([(0, vec![1, 1])]);
    places.resolve(0, &1, Effect::Put(11)).unwrap();
    let repeated = Err(ResolveError::Repeated { index: 0, key: "1".to_owned() });
    assert_eq!(places.resolve(0, &1, Effect::Put(12)), repeated);
    assert_eq!(run(2, &places, &[reader()], LONG).unwrap().outputs, [[11, 20, 2]]);
}

#[test]
fn the_deadline_names_the_place() {
    for threads in [1, 2] {
        let places = Elsewhere::new([(1, vec![2]), (2, vec![1])]);
        let block = [act(|view| Ok(vec![of(view.get(&1)?)])), reader()];
        places.resolve(1, &2, Effect::NotWritten).unwrap();
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
                resolver.resolve(index, &1, Effect::Put(index.into())).unwrap();
                resolver.resolve(index, &(index + 10), Effect::NotWritten).unwrap();
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
        places.resolve(2, &2, Effect::Put(22)).unwrap();
        places.resolve(0, &1, Effect::Put(11)).unwrap();
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
    places.resolve(0, &1, Effect::NotWritten).unwrap();
    assert!(run(1, &places, &[reader()], LONG).is_ok());
    let (cause, _) = run(1, &places, &[reader()], LONG).unwrap_err(); // and not a wait without an end
    assert!(matches!(cause, Cause::Malformed(_)), "{cause:?}");
}

#[test]
fn operands_that_arrive_are_merged_at_their_place() {
    for threads in [1, 2] {
        let places = Elsewhere::new([(0, vec![1]), (2, vec![1, 5]), (4, vec![1])]);
        let resolver = places.clone();
        let adds = || {
            act(|view| {
                view.merge(1, 100)?;
                Ok(vec![])
            })
        };
        let other = std::thread::spawn(move || {
            resolver.resolve(4, &1, Effect::Merge(vec![-1000])).unwrap();
            resolver.resolve(2, &5, Effect::Merge(vec![7, 8])).unwrap(); // a key that was not there
            resolver.resolve(0, &1, Effect::Merge(vec![1, 2])).unwrap();
            resolver.resolve(2, &1, Effect::Merge(vec![987])).unwrap();
        });
        // Key 1: 10, of the others 3, 100, of the others 987, 100, of the others -1000.
        let last = act(|view| Ok(vec![of(view.get(&1)?), of(view.get(&5)?)]));
        let done = run(threads, &places, &[adds(), adds(), last], LONG).unwrap();
        other.join().unwrap();
        assert_eq!(done.outputs, [vec![], vec![], vec![200, 15]]);
        assert_eq!(done.batch.into_iter().collect::<Vec<_>>(), [(1, Op::Put(200)), (5, Op::Put(15))]);
    }
}

#[test]
fn operands_that_are_not_admitted_end_the_block_before_their_place() {
    for threads in [1, 2] {
        let places = Elsewhere::new([(1, vec![1])]);
        places.resolve(1, &1, Effect::Merge(vec![5, -16])).unwrap();
        let block = [act(|view| Ok(vec![of(view.get(&1)?)])), act(|_| Ok(vec![]))];
        let (cause, committed) = run(threads, &places, &block, LONG).unwrap_err();
        assert_eq!(cause, Cause::Elsewhere { index: 1 });
        assert_eq!((committed.committed, committed.outputs, committed.batch.len()), (1, vec![vec![10]], 0));
    }
}

#[test]
fn no_operands_are_no_write() {
    let places = Elsewhere::new([(0, vec![3])]);
    places.resolve(0, &3, Effect::Merge(vec![])).unwrap();
    let done = run(2, &places, &[act(|view| Ok(vec![view.contains(&3)?.into()]))], LONG).unwrap();
    assert_eq!((done.outputs, done.batch.len()), (vec![vec![0]], 0));
}

/// What a transaction did.
type Told = (u32, Vec<(Key, Effect<Value, i64>)>);

/// Tells of every key of `own`, and gives what was told.
fn telling(places: Places, own: &[(u32, &[Key])]) -> (Places, Receiver<Told>) {
    let (sender, receiver) = channel();
    let own: Vec<_> = own.iter().map(|(place, keys)| (*place, keys.to_vec())).collect();
    (places.telling(own, move |place, effects| sender.send((place, effects)).unwrap()), receiver)
}

#[test]
fn others_are_told_what_a_transaction_did_and_operands_as_it_left_them() {
    for threads in [1, 2] {
        let places = Elsewhere::new([(0, vec![99]), (2, vec![])]);
        let (places, told) = telling(places, &[(1, &[1, 2, 3, 4]), (3, &[1]), (4, &[1])]);
        let (resolver, ran) = (places.clone(), [(); 4].map(|()| Signal::default()));
        let waits = ran.clone();
        let [first, second, third, fourth] = ran;
        let other = std::thread::spawn(move || {
            waits.iter().for_each(Signal::wait); // for all of them to have begun before what lies below was there
            resolver.resolve(0, &99, Effect::NotWritten).unwrap();
        });
        let block = [
            act(move |view| {
                first.raise();
                view.set(1, 5);
                view.delete(2);
                view.merge(3, 7)?;
                view.merge(3, 8)?;
                Ok(vec![])
            }),
            act(move |view| {
                second.raise();
                view.merge(1, 1)?;
                Ok(vec![of(view.get(&1)?)]) // which makes a value of it
            }),
            act(move |view| {
                third.raise();
                view.merge(1, 1)?;
                Ok(vec![])
            }),
            act(move |view| {
                view.set(9, 9); // nobody waits for it
                fourth.raise();
                Ok(vec![])
            }),
        ];
        run(threads, &places, &block, LONG).unwrap();
        other.join().unwrap();
        drop((places, block));
        let due: Vec<Told> = vec![
            (
                1,
                vec![(1, Effect::Put(5)), (2, Effect::Delete), (3, Effect::Merge(vec![7, 8])), (4, Effect::NotWritten)],
            ),
            (3, vec![(1, Effect::Put(6))]),
            (4, vec![(1, Effect::Merge(vec![1]))]),
        ];
        assert_eq!(told.iter().collect::<Vec<_>>(), due);
    }
}

#[test]
fn a_panic_of_who_is_told_ends_the_block() {
    let places: Places = Elsewhere::new([]).telling([(1, vec![1])], |_, _| panic!("not told"));
    let block = [act(|_| Ok(vec![])), act(|_| Ok(vec![])), act(|_| Ok(vec![]))];
    let (cause, committed) = run(2, &places, &block, LONG).unwrap_err();
    assert_eq!(cause, Cause::Panicked { index: 1, message: "not told".to_owned() });
    assert_eq!(committed.committed, 1);
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
                resolver.resolve(2 * at, &1, Effect::Put(Value::from(at) * 100)).unwrap();
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
