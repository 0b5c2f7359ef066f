//! The view: one request a key, and no reader left behind.

use crate::loom_tests::{explore, explore_within};
use crate::remote::block_view::{BlockView, Entries, Manners, ViewFailure};
use crate::remote::counters::Counters;
use crate::remote::mailbox::Mailbox;
use crate::remote::message::{Answer, BlockKey, Fetch, Limit, Page, Scan, ToCoordinator};
use crate::sync::{Arc, AtomicUsize, Ordering};
use bytes::Bytes;
use loom::thread;
use std::time::Instant;

const KEY: Bytes = Bytes::from_static(b"key");
const VALUE: Bytes = Bytes::from_static(b"value");

type Got = Result<Option<Bytes>, ViewFailure>;

pub(super) struct Watched {
    pub(super) view: Arc<BlockView>,
    asked: Arc<Mailbox<ToCoordinator>>,
    fails: Arc<AtomicUsize>,
    counters: Arc<Counters>,
}

pub(super) fn watched() -> Watched {
    let (asked, fails) = (Arc::new(Mailbox::new(8)), Arc::new(AtomicUsize::new(0)));
    let counters = Arc::new(Counters::default());
    let (asks, failed) = (Arc::clone(&asked), Arc::clone(&fails));
    let view = BlockView::new(
        BlockKey::default(),
        Instant::now(), // a model has no clock: nothing times out
        Manners { batch: 1, batches: 1 },
        Arc::clone(&counters),
        move |ask| _ = asks.push(ask),
        move |_| _ = failed.fetch_add(1, Ordering::Relaxed),
    );
    Watched { view: Arc::new(view), asked, fails, counters }
}

pub(super) fn reading(view: &Arc<BlockView>) -> thread::JoinHandle<Got> {
    let view = Arc::clone(view);
    thread::spawn(move || view.get(&KEY))
}

fn answer(view: &BlockView, request: u64) {
    view.answer(Answer { key: BlockKey::default(), request, values: vec![(KEY, Ok(Some(VALUE)))] });
}

/// Two readers of one key: one request, one answer, both have it.
#[test]
fn two_readers_make_one_request() {
    explore(|| {
        let Watched { view, asked, fails, .. } = watched();
        let readers = [reading(&view), reading(&view)];
        let Some(ToCoordinator::Fetch(Fetch { request, .. })) = asked.take() else { panic!("nothing was asked") };
        answer(&view, request);
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), Ok(Some(VALUE))));
        asked.close();
        assert_eq!((asked.take(), fails.load(Ordering::Relaxed)), (None, 0));
    });
}

/// The close races with two readers, one of whom would ask: both leave.
#[test]
fn the_close_leaves_no_reader_behind() {
    explore(|| {
        let Watched { view, .. } = watched();
        let readers = [reading(&view), reading(&view)];
        view.close();
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), Err(ViewFailure::Closed)));
    });
}

/// The close comes in the middle of an answer: the one or the other is what is read from then on, and that they differ fails
/// nothing.
#[test]
fn an_answer_that_the_close_overtakes_is_late() {
    explore(|| {
        let Watched { view, asked, fails, counters } = watched();
        view.prefetch([KEY]);
        let Some(ToCoordinator::Fetch(Fetch { request, .. })) = asked.take() else { panic!("nothing was asked") };
        let answers = {
            let view = Arc::clone(&view);
            thread::spawn(move || answer(&view, request))
        };
        view.close();
        let got = view.get(&KEY);
        answers.join().unwrap();
        let late = u64::from(got == Err(ViewFailure::Closed));
        assert_eq!((fails.load(Ordering::Relaxed), counters.read().late), (0, late), "{got:?}");
    });
}

/// The answer races with the close: the reader has the one or the other, and an answer that comes too late fails nothing.
#[test]
fn an_answer_that_races_with_the_close_is_used_or_late() {
    explore_within(2, || {
        let Watched { view, asked, fails, counters } = watched();
        let reader = reading(&view);
        let answers = {
            let (view, asked) = (Arc::clone(&view), Arc::clone(&asked));
            thread::spawn(move || {
                if let Some(ToCoordinator::Fetch(Fetch { request, .. })) = asked.take() {
                    answer(&view, request);
                }
            })
        };
        view.close();
        let got = reader.join().unwrap();
        assert!(matches!(got, Ok(Some(_)) | Err(ViewFailure::Closed)), "{got:?}");
        assert_eq!(fails.load(Ordering::Relaxed), 0, "a late answer is not a contradiction");
        asked.close(); // if the close came before the reader, nothing was asked
        answers.join().unwrap();
        assert_eq!(counters.read().unasked, 0, "it was asked for");
    });
}

fn walking(view: &Arc<BlockView>) -> thread::JoinHandle<Result<Entries, ViewFailure>> {
    let view = Arc::clone(view);
    thread::spawn(move || view.page(Limit::Unbounded, Limit::Unbounded, false, 8))
}

/// The close races with two who walk a range: both leave.
#[test]
fn the_close_leaves_nobody_who_walks_behind() {
    explore(|| {
        let Watched { view, .. } = watched();
        let walkers = [walking(&view), walking(&view)];
        view.close();
        walkers.into_iter().for_each(|walker| assert_eq!(walker.join().unwrap(), Err(ViewFailure::Closed)));
    });
}

/// A page races with the close: who walks has the one or the other, and a page that comes too late was asked for.
#[test]
fn a_page_that_races_with_the_close_is_used_or_late() {
    explore_within(2, || {
        let Watched { view, asked, fails, counters } = watched();
        let walker = walking(&view);
        let answers = {
            let (view, asked) = (Arc::clone(&view), Arc::clone(&asked));
            thread::spawn(move || {
                if let Some(ToCoordinator::Scan(Scan { key, request, .. })) = asked.take() {
                    view.turn(Page { key, request, entries: Ok(vec![(KEY, VALUE)]), more: false });
                }
            })
        };
        view.close();
        match walker.join().unwrap() {
            Ok((entries, more)) => assert_eq!((&*entries, more), (&vec![(KEY, VALUE)], false)),
            Err(failure) => assert_eq!(failure, ViewFailure::Closed),
        }
        asked.close();
        answers.join().unwrap();
        assert_eq!((fails.load(Ordering::Relaxed), counters.read().unasked), (0, 0));
    });
}

/// What is to come unasked races with the close, which may be before it: who reads it leaves.
#[test]
fn the_close_leaves_nobody_who_expects() {
    explore(|| {
        let Watched { view, asked, .. } = watched();
        let reader = {
            let view = Arc::clone(&view);
            thread::spawn(move || {
                view.expect(vec![vec![KEY]]);
                view.get(&KEY)
            })
        };
        view.close();
        assert_eq!(reader.join().unwrap(), Err(ViewFailure::Closed));
        asked.close();
        assert_eq!(asked.take(), None);
    });
}

/// What is expected and comes is read, and nothing is asked.
#[test]
fn what_is_expected_is_not_asked_for() {
    explore(|| {
        let Watched { view, asked, .. } = watched();
        view.expect(vec![vec![KEY]]);
        let reader = reading(&view);
        answer(&view, 0);
        assert_eq!(reader.join().unwrap(), Ok(Some(VALUE)));
        asked.close();
        assert_eq!(asked.take(), None);
    });
}

/// A guess and a read of one key: it travels once.
#[test]
fn a_guess_and_a_read_make_one_request() {
    explore(|| {
        let Watched { view, asked, .. } = watched();
        let guesses = {
            let view = Arc::clone(&view);
            thread::spawn(move || view.prefetch([KEY]))
        };
        let reader = reading(&view);
        let Some(ToCoordinator::Fetch(Fetch { request, .. })) = asked.take() else { panic!("nothing was asked") };
        answer(&view, request);
        guesses.join().unwrap();
        assert_eq!(reader.join().unwrap(), Ok(Some(VALUE)));
        asked.close();
        assert_eq!(asked.take(), None);
    });
}
