//! The view: one request a key, and no reader left behind.

use crate::loom_tests::{explore, explore_within};
use crate::remote::block_view::{BlockView, Manners, ViewFailure};
use crate::remote::counters::Counters;
use crate::remote::mailbox::Mailbox;
use crate::remote::message::{Answer, BlockKey, Fetch, ToCoordinator};
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
}

pub(super) fn watched() -> Watched {
    let (asked, fails) = (Arc::new(Mailbox::new(8)), Arc::new(AtomicUsize::new(0)));
    let (asks, failed) = (Arc::clone(&asked), Arc::clone(&fails));
    let view = BlockView::new(
        BlockKey::default(),
        Instant::now(), // a model has no clock: nothing times out
        Manners { batch: 1, batches: 1 },
        Arc::new(Counters::default()),
        move |ask| _ = asks.push(ask),
        move |_| _ = failed.fetch_add(1, Ordering::Relaxed),
    );
    Watched { view: Arc::new(view), asked, fails }
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
        let Watched { view, asked, fails } = watched();
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

/// The answer races with the close: the reader has the one or the other, and an answer that comes too late fails nothing.
#[test]
fn an_answer_that_races_with_the_close_is_used_or_late() {
    explore_within(2, || {
        let Watched { view, asked, fails } = watched();
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
