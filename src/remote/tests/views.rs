//! The state before a block, message by message.
//!
//! The story: a remote executor kept one view and replaced it in place at each block. An answer to the block before, still in
//! flight, then met the view of the next one: it panicked where its key was unknown, and where it was known its value was
//! taken, silently, for the next block's. A guess that was late put its keys into the next view; a key that was not there was
//! taken to be absent; a lock was held while waiting, which closed the circle. Each test below is one way into it.

use super::puppet::*;
use crate::kv::{KvStore, MemStore};
use crate::remote::Access;
use crate::remote::block_view::{BlockView, Manners, ViewFailure};
use crate::remote::counters::Counters;
use crate::remote::message::{
    Answer, BlockKey, Done, Failed, Fetch, Limit, Page, ReadFailure, Resolved, ShardFailure, ToCoordinator, ToShard,
};
use crate::remote::{AttemptError, BlockOptions, Coded, Faults, Network};
use crate::sync::{AtomicUsize, Ordering};
use bytes::Bytes;

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// A view, what it asks, how often it failed, and what it counts.
struct Watched {
    view: Arc<BlockView>,
    asked: Receiver<ToCoordinator>,
    failed: Arc<AtomicUsize>,
    counters: Arc<Counters>,
}

fn watched(time: Duration) -> Watched {
    let (sender, asked) = channel();
    let (failed, counters) = (Arc::new(AtomicUsize::new(0)), Arc::new(Counters::default()));
    let fails = Arc::clone(&failed);
    let view = BlockView::new(
        block_key(1),
        within(time),
        Manners { batch: 2, batches: 2 },
        Arc::clone(&counters),
        move |ask| drop(sender.send(ask)),
        move |_| _ = fails.fetch_add(1, Ordering::Relaxed),
    );
    Watched { view: Arc::new(view), asked, failed, counters }
}

impl Watched {
    fn next(&self) -> Fetch {
        match self.asked.recv_timeout(LONG).unwrap() {
            ToCoordinator::Fetch(fetch) => fetch,
            other => panic!("{other:?}"),
        }
    }

    fn asks_nothing(&self) -> bool {
        matches!(self.asked.try_recv(), Err(TryRecvError::Empty))
    }

    fn answer(&self, request: u64, values: &[(&str, Option<&str>)]) {
        let owned = |word: &str| Bytes::copy_from_slice(word.as_bytes());
        let values = values.iter().map(|(key, value)| (owned(key), Ok(value.map(owned)))).collect();
        self.view.answer(Answer { key: block_key(1), request, values });
    }

    fn failures(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }
}

fn key(word: &'static str) -> Bytes {
    Bytes::from_static(word.as_bytes())
}

type Got = Result<Option<Bytes>, ViewFailure>;

/// Reads on a thread of its own.
fn reading(view: &Arc<BlockView>, word: &'static str) -> std::thread::JoinHandle<Got> {
    let view = Arc::clone(view);
    std::thread::spawn(move || view.get(&key(word)))
}

#[test]
fn two_readers_make_one_request() {
    let watched = watched(LONG);
    let readers = [reading(&watched.view, "a"), reading(&watched.view, "a"), reading(&watched.view, "a")];
    let fetch = watched.next();
    assert_eq!((fetch.keys, fetch.demand, fetch.key), (vec![key("a")], true, block_key(1)));
    watched.answer(fetch.request, &[("a", Some("1"))]);
    assert!(readers.into_iter().all(|reader| reader.join().unwrap() == Ok(Some(key("1")))));
    assert_eq!(watched.view.get(&key("a")), Ok(Some(key("1"))));
    assert!(watched.asks_nothing());
}

#[test]
fn a_key_nobody_asked_for_is_asked_for_and_never_taken_to_be_absent() {
    let watched = watched(LONG);
    let reader = reading(&watched.view, "a");
    watched.answer(watched.next().request, &[("a", None)]);
    assert_eq!(reader.join().unwrap(), Ok(None), "absent, by the coordinator's word");
    let reader = reading(&watched.view, "b");
    watched.answer(watched.next().request, &[("b", Some(""))]);
    assert_eq!(reader.join().unwrap(), Ok(Some(Bytes::new())), "there, and empty");
}

#[test]
fn an_answer_to_what_was_never_asked_is_counted_and_gives_no_value() {
    let watched = watched(LONG);
    watched.answer(0, &[("a", Some("wrong"))]);
    watched.answer(u64::MAX, &[("a", Some("wrong"))]);
    let reader = reading(&watched.view, "a");
    let request = watched.next().request;
    watched.view.turn(Page { key: block_key(1), request, entries: Ok(vec![(key("a"), key("wrong"))]), more: false });
    assert_eq!((watched.counters.read().unasked, watched.failures()), (3, 0));
    watched.answer(request, &[("a", Some("right"))]);
    assert_eq!(reader.join().unwrap(), Ok(Some(key("right"))));
}

#[test]
fn an_answer_that_does_not_answer_its_request_fails_it() {
    for values in [&[][..], &[("a", Some("1")), ("b", Some("1"))], &[("b", Some("1"))]] {
        let watched = watched(LONG);
        let reader = reading(&watched.view, "a");
        watched.answer(watched.next().request, values);
        assert_eq!(reader.join().unwrap(), Err(ViewFailure::Protocol));
        assert_eq!((watched.counters.read().incomplete, watched.failures()), (1, 1));
    }
}

#[test]
fn of_two_answers_the_first_stays_and_a_different_second_fails_the_block() {
    let watched = watched(LONG);
    let reader = reading(&watched.view, "a");
    let request = watched.next().request;
    watched.answer(request, &[("a", Some("1"))]);
    watched.answer(request, &[("a", Some("1"))]);
    assert_eq!((watched.counters.read().repeated, watched.failures()), (1, 0), "the same again is no harm");
    watched.answer(request, &[("a", Some("2"))]);
    assert_eq!((watched.counters.read().conflicting, watched.failures()), (1, 1));
    assert_eq!(reader.join().unwrap(), Ok(Some(key("1"))));
    assert_eq!(watched.view.get(&key("a")), Ok(Some(key("1"))));
}

#[test]
fn the_deadline_ends_a_wait() {
    let watched = watched(Duration::from_millis(20));
    assert_eq!(watched.view.get(&key("a")), Err(ViewFailure::Deadline));
    let page = watched.view.page(Limit::Unbounded, Limit::Unbounded, false, 1);
    assert_eq!(page, Err(ViewFailure::Deadline));
}

#[test]
fn closing_wakes_a_hundred_who_wait() {
    let watched = watched(LONG);
    let begun = Arc::new(Barrier::new(101));
    let readers: Vec<_> = (0..100_u8)
        .map(|n| {
            let (view, begun) = (Arc::clone(&watched.view), Arc::clone(&begun));
            std::thread::spawn(move || {
                begun.wait();
                if n == 0 {
                    return view.page(Limit::Unbounded, Limit::Unbounded, true, 9).map(|_| None);
                }
                view.get(&Bytes::from(vec![n % 50]))
            })
        })
        .collect();
    begun.wait();
    until(|| watched.counters.read().fetched >= 25);
    watched.view.close();
    assert!(readers.into_iter().all(|reader| reader.join().unwrap() == Err(ViewFailure::Closed)));
    assert_eq!(watched.view.get(&key("new")), Err(ViewFailure::Closed));
}

#[test]
fn what_comes_after_the_close_is_late() {
    let watched = watched(LONG);
    let reader = reading(&watched.view, "a");
    let request = watched.next().request;
    watched.view.close();
    assert_eq!(reader.join().unwrap(), Err(ViewFailure::Closed));
    watched.answer(request, &[("a", Some("1"))]);
    watched.view.prefetch([key("b")]);
    assert_eq!((watched.counters.read().late, watched.failures()), (1, 0));
    assert!(watched.asks_nothing(), "a guess that is late asks nothing");
    assert_eq!(watched.view.get(&key("a")), Err(ViewFailure::Closed));
}

#[test]
fn guesses_go_out_in_batches_and_a_read_does_not_wait_for_them() {
    let watched = watched(LONG);
    watched.view.prefetch(["a", "b", "c", "d", "e", "f", "a"].map(key));
    let (first, second) = (watched.next(), watched.next());
    assert_eq!((first.keys.clone(), second.keys.clone()), (vec![key("a"), key("b")], vec![key("c"), key("d")]));
    assert!(!first.demand && watched.asks_nothing(), "two at a time");
    let reader = reading(&watched.view, "f");
    let demand = watched.next();
    assert_eq!((demand.keys, demand.demand), (vec![key("f")], true));
    watched.answer(demand.request, &[("f", Some("6"))]);
    assert_eq!(reader.join().unwrap(), Ok(Some(key("6"))));
    let reader = reading(&watched.view, "b");
    watched.answer(first.request, &[("a", None), ("b", Some("2"))]);
    assert_eq!(reader.join().unwrap(), Ok(Some(key("2"))), "it joins the guess");
    assert_eq!(watched.next().keys, [key("e")], "what was read meanwhile is not asked for again");
}

#[test]
fn what_is_expected_comes_without_being_asked_for() {
    let watched = watched(LONG);
    watched.view.expect(vec![vec![key("a"), key("b")], vec![key("c")]]);
    watched.view.prefetch([key("b"), key("d")]);
    assert!(watched.asks_nothing(), "two are under way");
    let reader = reading(&watched.view, "b");
    watched.answer(0, &[("a", None), ("b", Some("2"))]);
    assert_eq!(reader.join().unwrap(), Ok(Some(key("2"))));
    assert_eq!(watched.next().keys, [key("d")], "the rest is asked for, and nothing twice");
    watched.answer(0, &[("a", None), ("b", Some("2"))]);
    assert_eq!((watched.counters.read().repeated, watched.failures()), (2, 0));
    watched.answer(1, &[("c", Some("3"))]);
    assert_eq!(watched.view.get(&key("c")), Ok(Some(key("3"))));
    watched.answer(1, &[("c", Some("4"))]);
    assert_eq!((watched.counters.read().conflicting, watched.failures()), (1, 1));
}

#[test]
fn an_answer_to_what_is_expected_that_is_another_fails_the_block() {
    let watched = watched(LONG);
    watched.view.expect(vec![vec![key("a")]]);
    watched.answer(0, &[("b", Some("1"))]);
    assert_eq!((watched.counters.read().incomplete, watched.failures()), (1, 1));
    assert_eq!(watched.view.get(&key("a")), Err(ViewFailure::Protocol));
}

#[test]
fn a_guess_that_fails_is_no_error_until_it_is_read() {
    let watched = watched(LONG);
    watched.view.prefetch([key("a"), key("b")]);
    let request = watched.next().request;
    let failure = ReadFailure::Store("out of order".into());
    let values = vec![(key("a"), Err(failure.clone())), (key("b"), Ok(None))];
    watched.view.answer(Answer { key: block_key(1), request, values });
    assert_eq!(watched.failures(), 0);
    assert_eq!(watched.view.get(&key("b")), Ok(None));
    assert_eq!(watched.view.get(&key("a")), Err(ViewFailure::Read(failure)));
}

/// The first report's scenario, whole: block N's answer arrives after block N + 1 has begun, with the value that the key had
/// then. The shard must read N + 1's.
#[test]
fn an_answer_to_the_block_before_is_not_taken_for_this_blocks() {
    let network = Network::new(1, Faults::default());
    let shard = shard(&network, 1, LONG);
    let coordinator = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
    talking(&shard, 1);
    let fetch = |message| if let ToCoordinator::Fetch(fetch) = message { Some(fetch) } else { None };
    let answer = |key: BlockKey, fetch: &Fetch, value: u64| {
        let values = fetch.keys.iter().map(|key| (key.clone(), Ok(Some(value.encode())))).collect();
        ToShard::Answer(Answer { key, request: fetch.request, values })
    };
    coordinator.say(1, &ToShard::Begin(Box::new(begin(block_key(1), &[(0, &[5])], &[]))));
    let before = coordinator.hear(fetch);
    coordinator.say(1, &ToShard::Begin(Box::new(begin(block_key(2), &[(0, &[5])], &[]))));
    coordinator.say(1, &answer(block_key(1), &before, 111)); // in flight all the while, for the same key
    let now = coordinator.hear(fetch);
    assert_eq!(now.key, block_key(2));
    coordinator.say(1, &answer(block_key(1), &before, 111)); // again, now that it waits for that key
    coordinator.say(1, &answer(block_key(2), &now, 222));
    let done = coordinator.hear(|message| if let ToCoordinator::Done(done) = message { Some(done) } else { None });
    assert_eq!((done.key, done.executed[0].output.clone()), (block_key(2), 222_u64.encode()));
    assert_eq!(shard.counts().stale, 2);
}

/// The coordinator restarts in the middle of a block: its new life begins another one at the same shard, and neither hears of
/// the former.
#[test]
fn a_coordinator_that_restarts_begins_anew() {
    let network = Network::new(1, Faults::default());
    let shard = shard(&network, 1, LONG);
    let former = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
    talking(&shard, 1);
    former.say(1, &ToShard::Begin(Box::new(begin(block_key(9), &[(0, &[5])], &[]))));
    former.hear(|message| matches!(message, ToCoordinator::Fetch(_)).then_some(()));
    former.vanish();
    let mut cluster = cluster(&network, 0, &[1], LONG);
    assert_eq!(cluster.handle().shards_up(1, within(LONG)), [0]);
    let base = MemStore::from_iter([(5, 50)]).snapshot().unwrap();
    let access = [Access { reads: vec![5], writes: vec![5] }];
    let done = cluster.execute(&base, &[Bytes::from_static(&[5])], &access, BlockOptions::default()).unwrap();
    assert_eq!(done.output.outputs, [50]);
    until(|| shard.blocks() == 0);
}

/// A read of a block that is over, or never was, is answered: the shard is not left waiting.
#[test]
fn a_read_of_a_closed_block_is_told_so() {
    let network = Network::new(1, Faults::default());
    let cluster = cluster(&network, 0, &[1], LONG);
    let shard = Puppet::<ToShard>::new(&network, 1, &[]);
    shard.talking();
    let fetch = Fetch { key: block_key(3), request: 4, demand: true, keys: vec![key("a")] };
    shard.say(0, &ToCoordinator::Fetch(fetch));
    let answer = shard.hear(|message| if let ToShard::Answer(answer) = message { Some(answer) } else { None });
    assert_eq!((answer.request, answer.values), (4, vec![(key("a"), Err(ReadFailure::Closed))]));
    assert_eq!(cluster.handle().counts().stale, 1);
}

/// Outcomes of the block before, for the same places and keys, delayed into this one.
#[test]
fn outcomes_of_the_block_before_are_not_taken_for_this_blocks() {
    use crate::remote::message::Outcome;
    let network = Network::new(1, Faults::default());
    let shard = shard(&network, 1, LONG);
    let coordinator = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
    talking(&shard, 1);
    let outcome = |block, value: u64| {
        let outcomes = vec![(0, vec![(5_u8.encode(), Outcome::Put(value.encode()))])];
        ToShard::Resolved(Resolved { key: block_key(block), outcomes })
    };
    for block in [1, 2] {
        coordinator.say(1, &ToShard::Begin(Box::new(begin(block_key(block), &[(1, &[5])], &[(0, &[5])]))));
    }
    coordinator.say(1, &outcome(1, 111));
    coordinator.say(1, &outcome(2, 222));
    let done = |message| match message {
        ToCoordinator::Done(Done { key, executed, .. }) => Some((key, executed[0].output.clone())),
        _ => None,
    };
    assert_eq!(coordinator.hear(done), (block_key(2), 222_u64.encode()));
    assert_eq!(shard.counts().stale, 1);
}

/// Operands go to and fro as operands: what they come to is for who has what lies below.
#[test]
fn operands_cross_as_operands() {
    use crate::remote::message::Outcome;
    let network = Network::new(1, Faults::default());
    let shard = shard(&network, 1, LONG);
    let coordinator = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
    talking(&shard, 1);
    let merged = |operand: u64| Outcome::Merge(vec![operand.encode()]);
    let arrive = |outcome| {
        let outcomes = vec![(0, vec![(160_u8.encode(), outcome)])];
        coordinator.say(1, &ToShard::Resolved(Resolved { key: block_key(1), outcomes }));
    };
    coordinator.say(1, &ToShard::Begin(Box::new(begin(block_key(1), &[(1, &[160, 201])], &[(0, &[160])]))));
    for key in [201, 160_u8] {
        let fetch =
            coordinator.hear(|message| if let ToCoordinator::Fetch(fetch) = message { Some(fetch) } else { None });
        assert_eq!(fetch.keys, [key.encode()], "what it merges into is read once it commits");
        if key == 201 {
            arrive(merged(500)); // it runs, and what lies below it has not been there
        }
        let values = vec![(key.encode(), Ok(Some(1000_u64.encode())))];
        coordinator.say(1, &ToShard::Answer(Answer { key: block_key(1), request: fetch.request, values }));
    }
    let told = coordinator.hear(|message| match message {
        ToCoordinator::Resolved(resolved) => Some(resolved.outcomes),
        _ => None,
    });
    assert_eq!(told, [(1, vec![(160_u8.encode(), merged(1))])]);
    let done = coordinator.hear(|message| if let ToCoordinator::Done(done) = message { Some(done) } else { None });
    assert_eq!(done.executed[0].writes, [(160_u8.encode(), Some(1501_u64.encode()))]);
}

/// Operands that overdraw, and such as are none: the share fails with words.
#[test]
fn operands_that_cannot_be_are_told_so() {
    use crate::remote::message::Outcome;
    let network = Network::new(1, Faults::default());
    let shard = shard(&network, 1, LONG);
    let coordinator = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
    talking(&shard, 1);
    for (block, operand) in [(1, u64::MAX.encode()), (2, Bytes::from_static(b"none"))] {
        coordinator.say(1, &ToShard::Begin(Box::new(begin(block_key(block), &[(1, &[160])], &[(0, &[160])]))));
        let outcomes = vec![(0, vec![(160_u8.encode(), Outcome::Merge(vec![operand]))])];
        coordinator.say(1, &ToShard::Resolved(Resolved { key: block_key(block), outcomes }));
        let failed = coordinator.hear(|message| match message {
            ToCoordinator::Failed(failed) => Some(Ok(failed)),
            ToCoordinator::Fetch(fetch) => Some(Err(fetch)),
            _ => None,
        });
        let failed = failed.unwrap_or_else(|fetch| {
            let values = vec![(160_u8.encode(), Ok(Some(1_u64.encode())))];
            coordinator.say(1, &ToShard::Answer(Answer { key: block_key(block), request: fetch.request, values }));
            coordinator.hear(|message| if let ToCoordinator::Failed(failed) = message { Some(failed) } else { None })
        });
        assert!(matches!(failed, Failed { why: ShardFailure::Protocol(_), .. }), "{failed:?}");
    }
    assert_eq!(shard.counts().malformed, 1);
}

/// A coordinator that contradicts itself: the share fails with words, at once, and the shard goes on.
#[test]
fn a_coordinator_that_contradicts_itself_is_told_so() {
    let network = Network::new(1, Faults::default());
    let shard = shard(&network, 1, LONG);
    let coordinator = Puppet::<ToCoordinator>::new(&network, 0, &[1]);
    talking(&shard, 1);
    coordinator.say(1, &ToShard::Begin(Box::new(begin(block_key(1), &[(1, &[201, 5])], &[(0, &[5])]))));
    let fetch = coordinator.hear(|message| if let ToCoordinator::Fetch(fetch) = message { Some(fetch) } else { None });
    assert_eq!(fetch.keys, [201_u8.encode()], "key 5 is another shard's until its outcome is there");
    for value in [1_u64, 2] {
        let values = vec![(201_u8.encode(), Ok(Some(value.encode())))];
        coordinator.say(1, &ToShard::Answer(Answer { key: block_key(1), request: fetch.request, values }));
    }
    let failed =
        coordinator.hear(|message| if let ToCoordinator::Failed(failed) = message { Some(failed) } else { None });
    assert!(matches!(failed, Failed { why: ShardFailure::Protocol(_), .. }), "{failed:?}");
    assert_eq!(shard.counts().conflicting, 1);
    until(|| shard.blocks() == 0);
}

/// A coordinator without shards says so, in time.
#[test]
fn no_shard_is_an_error_in_time() {
    let network = Network::new(1, Faults::default());
    let mut cluster = cluster(&network, 0, &[1], LONG);
    let base = MemStore::<u8, u64>::new().snapshot().unwrap();
    let began = Instant::now();
    let options = BlockOptions { within: Duration::from_millis(50), ..BlockOptions::default() };
    let result = cluster.execute(&base, &[Bytes::new()], &[Access::default()], options);
    assert!(matches!(result, Err(crate::remote::RemoteError::Attempt(AttemptError::NoShards))), "{result:?}");
    assert!(began.elapsed() < LONG);
}
