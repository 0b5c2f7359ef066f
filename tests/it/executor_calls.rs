//! Calling the executor: from inside a transaction, from several threads, with a switch and a deadline.

use crate::acts::*;
use cachekv::executor::{BlockResult, CancelToken, Cause, Commit, Elsewhere, Options, Vm, execute_sequentially};
use cachekv::kv::Op;
use cachekv::multiversion::{NoMerge, TxView, ViewError};
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn increment() -> Act {
    act(|view| {
        let value = view.get(&1)?.unwrap_or(0);
        view.set(1, value + 1);
        Ok(vec![value])
    })
}

fn increments(len: usize) -> Vec<Act> {
    (0..len).map(|_| increment()).collect()
}

/// Asks until it is told to leave; a test whose switch does nothing fails here.
fn loops(view: &View<'_>) -> Answer {
    let began = Instant::now();
    loop {
        view.check()?;
        assert!(began.elapsed() < Duration::from_secs(30), "nobody told it to leave");
    }
}

/// A worker that looks whether the block has stopped, is overtaken by the stop, and then goes to sleep, sleeps for ever.
/// Transactions without size, so that there can be any number of them: it overflowed where it was added up.
#[test]
fn a_block_beyond_counting_is_refused() {
    struct Nothing;
    impl Vm for Nothing {
        type Key = Key;
        type Value = Value;
        type Merge = NoMerge;
        type Transaction = ();
        type Output = ();
        type Error = ViewError;
        fn execute(&self, (): &(), _: &TxView<'_, Key, Value>) -> Result<(), ViewError> {
            Ok(())
        }
    }
    static ENDLESS: [(); usize::MAX] = [(); usize::MAX];
    let refused = |done: BlockResult<Nothing>| {
        let error = done.unwrap_err();
        assert!(matches!(error.cause, Cause::Malformed(_)), "{:?}", error.cause);
    };
    refused(execute_sequentially(&base(&[]), &ENDLESS, &Nothing, None));
    refused(TWO.execute(&base(&[]), &ENDLESS, &Nothing));
    let options = Options { elsewhere: Some(Elsewhere::new([(0, vec![1])])), ..Options::default() };
    refused(TWO.execute_with(&base(&[]), &ENDLESS, &Nothing, options));
}

#[test]
fn no_worker_sleeps_through_the_end_of_a_block() {
    let executor = crate::acts::sharing(8);
    let (block, snapshot) = (increments(1), base(&[]));
    for _ in 0..20_000 {
        assert_eq!(executor.execute(&snapshot, &block, &Acts).unwrap().committed, 1);
    }
}

#[test]
fn a_transaction_may_use_rayon() {
    for threads in [1, 2, 4] {
        let executor = crate::acts::sharing(threads);
        let block: Vec<Act> = (0..40)
            .map(|_| {
                act(|view| {
                    let value = view.get(&1)?.unwrap_or(0);
                    let sum: Value = (0..200i64).into_par_iter().map(|at| at % 3).sum();
                    let (a, b) = rayon::join(|| value, || 1);
                    view.set(1, a + b);
                    Ok(vec![sum])
                })
            })
            .collect();
        let done = executor.execute(&base(&[]), &block, &Acts).unwrap();
        assert_eq!(done.batch.get(&1), Some(&Op::Put(40)));
    }
}

#[test]
fn a_transaction_may_execute_a_block() {
    for threads in [1, 2] {
        let executor = Arc::new(crate::acts::sharing(threads));
        let inner = Arc::clone(&executor);
        let nested = act(move |view| {
            let done = inner.execute(&base(&[]), &increments(5), &Acts).unwrap();
            let before = view.get(&1)?.unwrap_or(0);
            view.set(1, before + done.outputs.len() as Value);
            Ok(vec![before])
        });
        let block = [increment(), nested, increment()];
        let done = executor.execute(&base(&[]), &block, &Acts).unwrap();
        assert_eq!(done.batch.get(&1), Some(&Op::Put(7)));
    }
}

#[test]
fn the_hook_may_execute_a_block() {
    let mut hook = |_: Commit<'_, Key, Value, Vec<Value>>| {
        assert_eq!(TWO.execute(&base(&[]), &increments(3), &Acts).unwrap().committed, 3);
        ControlFlow::Continue(())
    };
    let options = Options { on_commit: Some(&mut hook), ..Options::default() };
    assert_eq!(TWO.execute_with(&base(&[]), &increments(4), &Acts, options).unwrap().committed, 4);
}

#[test]
fn several_threads_may_execute_blocks_at_once() {
    let executor = crate::acts::sharing(2);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let done = executor.execute(&base(&[]), &increments(30), &Acts).unwrap();
                    assert_eq!(done.batch.get(&1), Some(&Op::Put(30)));
                }
            });
        }
    });
}

#[test]
fn blocks_may_be_executed_from_rayon_jobs() {
    let executor = crate::acts::sharing(2);
    (0..12).into_par_iter().for_each(|_| {
        assert_eq!(executor.execute(&base(&[]), &increments(10), &Acts).unwrap().committed, 10);
    });
}

#[test]
fn cancelled_before_it_begins_a_block_commits_nothing() {
    for threads in [1, 2] {
        let token = CancelToken::new();
        token.cancel();
        let options = Options { cancel: Some(token), ..Options::default() };
        let executor = crate::acts::sharing(threads);
        let error = executor.execute_with(&base(&[]), &increments(10), &Acts, options).unwrap_err();
        assert_eq!((&error.cause, error.committed.committed, error.committed.batch.len()), (&Cause::Cancelled, 0, 0));
        assert!(executor.execute(&base(&[]), &increments(10), &Acts).is_ok());
    }
}

#[test]
fn cancelled_a_block_of_nothing_is_done() {
    let token = CancelToken::new();
    token.cancel();
    let options = Options { cancel: Some(token), ..Options::default() };
    assert!(TWO.execute_with(&base(&[]), &[], &Acts, options).is_ok());
}

#[test]
fn cancelled_in_the_middle_a_block_keeps_its_prefix() {
    for threads in [1, 4] {
        let token = CancelToken::new();
        let switch = token.clone();
        let mut hook = |commit: Commit<'_, Key, Value, Vec<Value>>| {
            if commit.index == 9 {
                switch.cancel();
            }
            ControlFlow::Continue(())
        };
        let options = Options { cancel: Some(token), on_commit: Some(&mut hook), ..Options::default() };
        let executor = crate::acts::sharing(threads);
        let block: Vec<Act> = increments(10).into_iter().chain([act(loops)]).collect();
        let error = executor.execute_with(&base(&[]), &block, &Acts, options).unwrap_err();
        assert_eq!((&error.cause, error.committed.committed), (&Cause::Cancelled, 10));
        assert_eq!(error.committed.batch.get(&1), Some(&Op::Put(10)));
        assert_eq!(error.committed.outputs.concat(), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn cancelled_by_another_thread_while_all_its_transactions_loop_a_block_returns() {
    for threads in [1, 3] {
        let (token, looping) = (CancelToken::new(), Signal::default());
        let switch = token.clone();
        let begun = looping.clone();
        let block: Vec<Act> = (0..5)
            .map(|_| {
                let looping = looping.clone();
                act(move |view| {
                    looping.raise();
                    loops(view)
                })
            })
            .collect();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                begun.wait();
                switch.cancel();
            });
            let options = Options { cancel: Some(token), ..Options::default() };
            let executor = crate::acts::sharing(threads);
            let error = executor.execute_with(&base(&[]), &block, &Acts, options).unwrap_err();
            assert_eq!((&error.cause, error.committed.committed), (&Cause::Cancelled, 0));
        });
    }
}

#[test]
fn cancelled_after_its_last_commit_a_block_is_done() {
    let token = CancelToken::new();
    let switch = token.clone();
    let mut hook = |commit: Commit<'_, Key, Value, Vec<Value>>| {
        if commit.index == 9 {
            switch.cancel();
        }
        ControlFlow::Continue(())
    };
    let options = Options { cancel: Some(token), on_commit: Some(&mut hook), ..Options::default() };
    assert_eq!(TWO.execute_with(&base(&[]), &increments(10), &Acts, options).unwrap().committed, 10);
}

#[test]
fn one_switch_ends_every_block_that_has_it() {
    let (token, begun) = (CancelToken::new(), [Signal::default(), Signal::default()]);
    std::thread::scope(|scope| {
        for begun in &begun {
            let (token, begun) = (token.clone(), begun.clone());
            scope.spawn(move || {
                let block = [act(move |view| {
                    begun.raise();
                    loops(view)
                })];
                let options = Options { cancel: Some(token), ..Options::default() };
                let error = TWO.execute_with(&base(&[]), &block, &Acts, options).unwrap_err();
                assert_eq!(error.cause, Cause::Cancelled);
            });
        }
        begun.iter().for_each(Signal::wait);
        token.cancel();
    });
}

#[test]
fn a_deadline_ends_a_block_whose_every_worker_is_in_a_transaction() {
    for threads in [1, 2] {
        let deadline = Some(Instant::now() + Duration::from_millis(30));
        let block: Vec<Act> = [increment()].into_iter().chain((0..4).map(|_| act(loops))).collect();
        let executor = crate::acts::sharing(threads);
        let options = Options { deadline, ..Options::default() };
        let error = executor.execute_with(&base(&[]), &block, &Acts, options).unwrap_err();
        assert_eq!(error.cause, Cause::Deadline { waiting_for: None });
        assert!(error.committed.committed <= 1);
        assert!(executor.execute(&base(&[]), &increments(3), &Acts).is_ok());
    }
}

#[test]
fn a_deadline_that_has_passed_ends_a_block_at_once() {
    let options = Options { deadline: Some(Instant::now()), ..Options::default() };
    let error = TWO.execute_with(&base(&[]), &increments(3), &Acts, options).unwrap_err();
    assert_eq!((&error.cause, error.committed.committed), (&Cause::Deadline { waiting_for: None }, 0));
}

#[test]
fn a_deadline_far_away_changes_nothing() {
    let options = Options { deadline: Some(Instant::now() + Duration::from_secs(3600)), ..Options::default() };
    let done = TWO.execute_with(&base(&[]), &increments(100), &Acts, options).unwrap();
    let plain = execute_sequentially(&base(&[]), &increments(100), &Acts, None).unwrap();
    assert_eq!((done.outputs, done.batch), (plain.outputs, plain.batch));
}
