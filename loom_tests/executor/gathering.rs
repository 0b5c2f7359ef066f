//! Gathering: each lane once, by whoever comes first, and not before everything is in place.

use crate::executor::gathering::Gathering;
use crate::kv::Op;
use crate::loom_tests::explore;
use crate::multiversion::LANES;
use crate::sync::{Arc, AtomicBool, Ordering};
use loom::thread;

/// What two threads gather of a block whose lanes each have a key.
struct Shared {
    gathering: Gathering<usize, bool>,
    /// What was done before gathering could begin.
    settled: AtomicBool,
    /// How often a lane was gathered; the checker need not try what it may be.
    lanes: std::sync::atomic::AtomicUsize,
}

impl Shared {
    fn gather(&self) {
        self.gathering.gather(|lane| {
            self.lanes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            vec![(lane, Op::Put(self.settled.load(Ordering::Relaxed)))]
        });
    }
}

/// A worker that leaves beside who has committed the last transaction: what he had settled, relaxed, is seen by who gathers; and
/// together they gather each lane once.
#[test]
fn what_is_gathered_is_whole_and_each_lane_once() {
    explore(|| {
        let (gathering, settled) = (Gathering::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { gathering, settled, lanes: Default::default() });
        let leaves = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                if shared.gathering.has_begun() {
                    shared.gather();
                }
            })
        };
        shared.settled.store(true, Ordering::Relaxed);
        shared.gathering.begin();
        shared.gather();
        leaves.join().unwrap();
        let Shared { gathering, lanes, .. } = Arc::into_inner(shared).unwrap();
        let batch: Vec<_> = gathering.into_batch().unwrap().into_iter().collect();
        assert_eq!(batch, (0..LANES).map(|lane| (lane, Op::Put(true))).collect::<Vec<_>>());
        assert_eq!(lanes.into_inner(), LANES);
    });
}

/// A part that could not be gathered is not passed over in silence, whoever it was.
#[test]
fn a_panic_of_either_is_told() {
    explore(|| {
        let gathering = Arc::new(Gathering::<usize, bool>::new());
        gathering.begin();
        let other = {
            let gathering = Arc::clone(&gathering);
            thread::spawn(move || gathering.gather(|_| vec![]))
        };
        let (panics, told) = (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::Ordering::Relaxed);
        gathering.gather(|_| {
            panics.store(true, told);
            std::panic::resume_unwind(Box::new("the clone of a value"));
        });
        other.join().unwrap();
        let batch = Arc::into_inner(gathering).unwrap().into_batch();
        assert_eq!(batch.is_err(), panics.load(told));
    });
}
