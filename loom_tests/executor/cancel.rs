//! Cancelling: whoever is told, whenever the switch is thrown.

use super::blocks::{Block as Txs, Calls, add, conclude, job, sequentially, worker};
use crate::executor::block::Options;
use crate::executor::cancel::{Block, CancelToken};
use crate::executor::elsewhere::Elsewhere;
use crate::executor::error::Cause;
use crate::executor::parking::Parking;
use crate::executor::vm::{Commit, OnCommit};
use crate::executor::worker::Worker;
use crate::kv::{DynRead, KvRead, KvStore, MemStore};
use crate::loom_tests::{explore, explore_within};
use crate::multiversion::{MultiVersionStore, NoMerge};
use crate::sync::{Arc, AtomicBool, Ordering};
use loom::thread;
use std::ops::ControlFlow;

fn block() -> Block {
    Block { interrupted: Arc::new(AtomicBool::new(false)), parking: Arc::new(Parking::default()) }
}

fn base() -> DynRead<u8, u8> {
    MemStore::new().snapshot().unwrap().into_dyn()
}

/// A block that attaches itself while the switch is thrown is told, by the one or by the other.
#[test]
fn a_block_that_attaches_itself_is_told() {
    explore(|| {
        let (token, block) = (CancelToken::new(), block());
        let switch = {
            let token = token.clone();
            thread::spawn(move || token.cancel())
        };
        token.attach(&block);
        switch.join().unwrap();
        assert!(block.interrupted.load(Ordering::Relaxed));
        assert!(token.is_cancelled());
    });
}

/// A worker that sleeps, or is about to, wakes up when the switch is thrown and finds it thrown.
#[test]
fn who_sleeps_finds_the_switch_thrown() {
    explore(|| {
        let (token, block) = (CancelToken::new(), block());
        token.attach(&block);
        let worker = || {
            let (token, block) = (token.clone(), block.clone());
            thread::spawn(move || {
                while !token.is_cancelled() {
                    block.parking.wait(None, || !token.is_cancelled());
                }
            })
        };
        let workers = [worker(), worker()];
        token.cancel();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

/// A run that is told that its block stops finds the switch thrown when it then looks why.
#[test]
fn who_is_interrupted_finds_the_switch_thrown() {
    explore(|| {
        let (token, block) = (CancelToken::new(), block());
        token.attach(&block);
        let store = MultiVersionStore::<_, _, NoMerge>::new(base(), 0, Arc::clone(&block.interrupted));
        let switch = {
            let token = token.clone();
            thread::spawn(move || token.cancel())
        };
        if store.is_interrupted() {
            assert!(token.is_cancelled());
        }
        switch.join().unwrap();
    });
}

/// Who finds the switch thrown sees what was done before it was.
#[test]
fn a_thrown_switch_shows_what_came_before() {
    explore(|| {
        let (token, reason) = (CancelToken::new(), Arc::new(AtomicBool::new(false)));
        let switch = {
            let (token, reason) = (token.clone(), Arc::clone(&reason));
            thread::spawn(move || {
                reason.store(true, Ordering::Relaxed);
                token.cancel();
            })
        };
        if token.is_cancelled() {
            assert!(reason.load(Ordering::Relaxed));
        }
        switch.join().unwrap();
    });
}

/// A run under way that would go on for ever leaves when the switch is thrown.
#[test]
fn a_run_under_way_leaves() {
    explore(|| {
        let token = CancelToken::new();
        let block: Txs = &[|view| {
            loop {
                view.check()?;
                thread::yield_now();
            }
        }];
        let work = job(block, Options { cancel: Some(token.clone()), ..Options::default() });
        let switch = thread::spawn(move || token.cancel());
        Worker::new(&work).run();
        switch.join().unwrap();
        assert_eq!(conclude(work).cause, Some(Cause::Cancelled));
    });
}

/// A block that has ended is forgotten, though the switch be thrown meanwhile.
#[test]
fn a_block_that_has_ended_is_forgotten() {
    explore(|| {
        let (token, ended, running) = (CancelToken::new(), block(), block());
        token.attach(&ended);
        token.attach(&running);
        let switch = {
            let token = token.clone();
            thread::spawn(move || token.cancel())
        };
        token.detach(&ended);
        switch.join().unwrap();
        assert_eq!(Arc::strong_count(&ended.parking), 1);
        assert!(running.interrupted.load(Ordering::Relaxed));
    });
}

/// A block that can never end by itself, whose only worker sleeps or is about to, ends when the switch is thrown.
#[test]
fn a_sleeping_block_ends() {
    explore_within(2, || {
        let token = CancelToken::new();
        let elsewhere = Some(Elsewhere::new([(0, vec![1])]));
        let work = job(&[], Options { cancel: Some(token.clone()), elsewhere, ..Options::default() });
        let other = worker(&work);
        token.cancel();
        other.join().unwrap();
        let came = conclude(work);
        assert_eq!((came.cause, came.committed), (Some(Cause::Cancelled), 0));
    });
}

/// A block that is called off while it runs has committed a prefix of it, or all of it and then knows of no cancelling;
/// nobody waits for ever.
#[test]
fn a_block_called_off_leaves_a_prefix() {
    static BLOCK: Txs = &[|view| add(view, 1, 1), |view| add(view, 1, 1)];
    explore_within(2, || {
        let token = CancelToken::new();
        let work = job(BLOCK, Options { cancel: Some(token.clone()), ..Options::default() });
        let other = worker(&work);
        token.cancel();
        Worker::new(&work).run();
        other.join().unwrap();
        let mut came = conclude(work);
        let committed = came.committed as usize;
        assert_eq!(came.cause.take(), (committed < BLOCK.len()).then_some(Cause::Cancelled));
        assert_eq!(came, sequentially(&BLOCK[..committed]));
    });
}

/// Whoever ends a block first says how: one that the hook has ended is not cancelled any more, and one that is cancelled
/// has heard no `Break`.
#[test]
fn a_block_ended_by_its_hook_is_not_cancelled() {
    static BLOCK: Txs = &[|view| add(view, 1, 1), |view| add(view, 1, 1)];
    explore_within(2, || {
        let token = CancelToken::new();
        let hook: OnCommit<'static, Calls> = Box::leak(Box::new(|_: Commit<'_, u8, u8, u8>| ControlFlow::Break(())));
        let options = Options { cancel: Some(token.clone()), on_commit: Some(hook), ..Options::default() };
        let work = job(BLOCK, options);
        let other = worker(&work);
        token.cancel();
        Worker::new(&work).run();
        other.join().unwrap();
        let came = conclude(work);
        assert_eq!(came.cause, (came.committed == 0).then_some(Cause::Cancelled));
    });
}
