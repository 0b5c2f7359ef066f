//! What one run may see: answers that repeat, answers that no state has given, and their end.

use super::*;

/// Two keys written by one transaction and read by one run: if it saw the one without the other, validation knows, and
/// the run, if it goes on, ends.
#[test]
fn a_torn_read_is_noticed() {
    explore(|| {
        let block = Block::over(&[]);
        let both = block.ready(0, |view| {
            view.set(1, 20);
            view.set(2, 20);
        });
        let writer = beside(&block, move |block| drop(block.publish(both)));
        let view = block.view(1);
        let (one, two) = (view.get(&1).unwrap(), view.get(&2).unwrap());
        writer.join().unwrap();
        let current = (one, two) == (Some(20), Some(20));
        let ended = (0..100).any(|_| view.check().is_err());
        assert_eq!(ended, !current, "{one:?} beside {two:?}");
        let reads = view.finish().reads;
        assert_eq!(validate(&block.store, 1, &reads).is_ok(), current);
    });
}

/// A transaction's abort and next execution beside a run that began when its first one was old.
fn beside_the_next<T: 'static>(
    run: impl Fn(&View<'_>) + Send + Sync + 'static,
    read: impl Fn(&View<'_>) -> T + Send + Sync + 'static,
    judge: impl Fn(T) + Send + Sync + 'static,
) {
    explore(move || {
        let block = Block::over(&[]);
        let first = block.run(1, |view| view.set(1, 20));
        let again = block.ready_again(1, &first, &run);
        block.store.frontier().advance(1);
        let writer = beside(&block, move |block| drop(block.abort_and_publish(again)));
        let observed = block.observe(2, &read);
        writer.join().unwrap();
        judge(observed.answer);
    });
}

/// What a run has read by key it finds in a walk, and a second walk finds what the first one did, or the run ends, while an
/// abort and a next incarnation replace one key by another.
fn answers_repeat<R: PartialEq + std::fmt::Debug + 'static>(
    read: impl Fn(&View<'_>) -> Result<(R, R), ViewError> + Send + Sync + 'static,
) {
    beside_the_next(
        |view| view.set(2, 30),
        read,
        |answer| {
            if let Ok((earlier, later)) = answer {
                assert_eq!(earlier, later, "two answers of one run");
            }
        },
    );
}

#[test]
fn a_second_walk_finds_what_the_first_did() {
    answers_repeat(|view| Ok((keys(view)?, keys(view)?)));
}

#[test]
fn a_walk_finds_what_was_read_by_key() {
    answers_repeat(|view| {
        let points = (view.contains(&1)?, view.contains(&2)?);
        let walked = keys(view)?;
        Ok((points, (walked.contains(&1), walked.contains(&2))))
    });
}

#[test]
fn a_read_by_key_finds_what_was_walked() {
    answers_repeat(|view| {
        let walked = keys(view)?;
        Ok(((walked.contains(&1), walked.contains(&2)), (view.contains(&1)?, view.contains(&2)?)))
    });
}

/// A key that was walked does not vanish from the same run when its version is removed and nothing is written instead.
#[test]
fn a_version_that_goes_is_noticed() {
    beside_the_next(
        |_| (),
        |view| (keys(view), view.contains(&1)),
        |answers| {
            if let (Ok(walked), Ok(exists)) = answers {
                assert_eq!(walked.contains(&1), exists, "two answers of one run");
            }
        },
    );
}

/// A walk that looked ahead before a key's value changed does not give, beside an earlier answer, the value after.
#[test]
fn a_walk_gives_the_value_that_was_read() {
    beside_the_next(
        |view| view.set(1, 30),
        |view| (view.get(&1), walk(view)),
        |answers| {
            if let (Ok(point), Ok(walked)) = answers {
                assert_eq!(walked, [(1, point.unwrap())]);
            }
        },
    );
}

/// A run of a block that has stopped ends at its next read, whatever it could still answer.
#[test]
fn a_stopped_block_ends_its_runs() {
    explore(|| {
        let block = Block::over(&[(1, 10)]);
        let stop = beside(&block, |block| block.interrupted.store(true, Ordering::Release));
        let view = block.view(1);
        let _ = view.get(&1);
        stop.join().unwrap();
        assert!(matches!(view.get(&1), Err(ViewError::Interrupted)));
        assert!(view.keys(..).all(|key| key.is_err()));
    });
}
