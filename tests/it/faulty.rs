//! A store that can be told to fail, to panic or to park, and that counts what it is asked.
//!
//! It passes everything on to the store it wraps. Before it does, it looks in its plan: the n-th call of a kind, counted from
//! the moment the plan was made, may return an error, panic, or wait on a channel until the test lets it go; a commit may
//! also take effect, as a whole or in part, and return an error all the same. Reads of its snapshots and steps of its
//! iterators count as calls too. No clock is involved: a parked call, which is how a store is slow here, says on a channel
//! that it has arrived.

use cachekv::kv::{Error, KeyRange, KvRead, KvStore, WriteBatch};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// How long a test waits for what must happen before it calls it a hang. No outcome depends on it otherwise.
const HANG: Duration = Duration::from_secs(60);

/// The kinds of calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Snapshot,
    Commit,
    /// A point read of a snapshot.
    Read,
    /// The opening of a range of a snapshot.
    Scan,
    /// Taking an entry from a range, or finding that there is none left. After a failed one the range is over.
    Step,
    /// The cloning of a snapshot, which cannot fail. A store clones its parent's when it builds a cut: to park there is to
    /// stop in the middle of a publication.
    Clone,
}

/// What befalls a call.
enum Fault {
    Fail,
    Panic,
    /// A commit that takes effect as far as so many of its first operations, and fails.
    Tear(usize),
    Park {
        arrived: Sender<()>,
        go: Receiver<()>,
    },
}

/// A call that waits, or will, until this is dropped, [`release`](Self::release)d or told to [`fail`](Self::fail).
pub(crate) struct Parked {
    arrived: Receiver<()>,
    go: Sender<()>,
}

impl Parked {
    /// Waits until the call is there.
    pub(crate) fn arrived(&self) {
        self.arrived.recv_timeout(HANG).expect("the call to park was never made");
    }

    /// Whether the call is there; says so once.
    pub(crate) fn has_arrived(&self) -> bool {
        self.arrived.try_recv().is_ok()
    }

    /// Waits until the call is there, or there is no more reason to expect it; says whether it is there.
    pub(crate) fn arrived_unless(&self, over: impl Fn() -> bool) -> bool {
        loop {
            // Asked first: what arrives before it is over is found in the channel.
            let over = over();
            if self.arrived.recv_timeout(Duration::from_millis(1)).is_ok() {
                return true;
            }
            if over {
                return false;
            }
        }
    }

    pub(crate) fn release(self) {}

    pub(crate) fn fail(self) {
        self.go.send(()).expect("the call to park was never made");
    }
}

#[derive(Default)]
struct Plan {
    /// How many calls of a kind there were, and what is to befall which.
    calls: HashMap<Call, usize>,
    faults: HashMap<(Call, usize), Fault>,
}

/// A store over `S` that misbehaves as told.
pub(crate) struct Faulty<S: KvStore> {
    store: S,
    plan: Arc<Mutex<Plan>>,
    batches: Mutex<Vec<WriteBatch<S::Key, S::Value>>>,
}

/// A snapshot of a [`Faulty`] store, a root of its own: reads of it misbehave as the store is told.
pub(crate) struct FaultyRead<R> {
    state: R,
    plan: Arc<Mutex<Plan>>,
}

impl<S: KvStore> Faulty<S> {
    pub(crate) fn new(store: S) -> Self {
        Self { store, plan: Arc::default(), batches: Mutex::default() }
    }

    /// The `nth` call from now on (1: the next) fails.
    pub(crate) fn fail(&self, call: Call, nth: usize) {
        self.on(call, nth, Fault::Fail);
    }

    /// The `nth` call from now on panics.
    pub(crate) fn panic(&self, call: Call, nth: usize) {
        self.on(call, nth, Fault::Panic);
    }

    /// The `nth` commit from now on takes effect, and its answer is lost: it fails.
    pub(crate) fn lose(&self, nth: usize) {
        self.tear(nth, usize::MAX);
    }

    /// The `nth` commit from now on takes effect as far as its first `ops` operations, and fails: what no store may do, and
    /// some do.
    pub(crate) fn tear(&self, nth: usize, ops: usize) {
        self.on(Call::Commit, nth, Fault::Tear(ops));
    }

    /// The `nth` call from now on waits until it is let go.
    pub(crate) fn park(&self, call: Call, nth: usize) -> Parked {
        let (arrived, has_arrived) = channel();
        let (let_go, go) = channel();
        self.on(call, nth, Fault::Park { arrived, go });
        Parked { arrived: has_arrived, go: let_go }
    }

    fn on(&self, call: Call, nth: usize, fault: Fault) {
        let mut plan = self.plan.lock();
        let at = plan.calls.get(&call).copied().unwrap_or(0) + nth;
        plan.faults.insert((call, at), fault);
    }

    /// How many calls of this kind there were.
    pub(crate) fn calls(&self, call: Call) -> usize {
        self.plan.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// The batches that were to be committed, in the order they came, failed ones included.
    pub(crate) fn batches(&self) -> Vec<WriteBatch<S::Key, S::Value>> {
        self.batches.lock().clone()
    }

    /// The wrapped store, for what happens behind everybody's back.
    pub(crate) fn store(&self) -> &S {
        &self.store
    }
}

/// Counts the call, and finds what was planned for it.
fn count(plan: &Mutex<Plan>, call: Call) -> Option<Fault> {
    let mut plan = plan.lock();
    let at = plan.calls.entry(call).or_default();
    *at += 1;
    let at = *at;
    plan.faults.remove(&(call, at))
}

fn failure(call: Call) -> Error {
    let (store, source) = ("faulty".into(), Arc::new(std::io::Error::other("as planned")));
    if call == Call::Commit { Error::Commit { store, source } } else { Error::Read { store, source } }
}

/// Lets befall the call what was planned; `Err` if it is to fail.
fn befall(fault: Option<Fault>, call: Call) -> Result<(), Error> {
    match fault {
        None => Ok(()),
        Some(Fault::Fail | Fault::Tear(_)) => Err(failure(call)),
        // Without the hook: nobody wants to see it, hundreds of times.
        Some(Fault::Panic) => std::panic::resume_unwind(Box::new("as planned")),
        Some(Fault::Park { arrived, go }) => {
            let _ = arrived.send(());
            match go.recv() {
                Ok(()) => Err(failure(call)),
                Err(_dropped) => Ok(()),
            }
        }
    }
}

/// Counts the call and lets befall it what was planned.
fn pass(plan: &Mutex<Plan>, call: Call) -> Result<(), Error> {
    befall(count(plan, call), call)
}

impl<S: KvStore> KvStore for Faulty<S> {
    type Key = S::Key;
    type Value = S::Value;
    type Snapshot = FaultyRead<S::Snapshot>;

    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        pass(&self.plan, Call::Snapshot)?;
        Ok(FaultyRead { state: self.store.snapshot()?, plan: Arc::clone(&self.plan) })
    }

    fn commit(&self, batch: WriteBatch<S::Key, S::Value>) -> Result<Self::Snapshot, Error> {
        self.batches.lock().push(batch.clone());
        let fault = count(&self.plan, Call::Commit);
        if let Some(Fault::Tear(ops)) = fault {
            self.store.commit(batch.into_iter().take(ops).collect())?;
            return Err(failure(Call::Commit));
        }
        befall(fault, Call::Commit)?;
        Ok(FaultyRead { state: self.store.commit(batch)?, plan: Arc::clone(&self.plan) })
    }
}

impl<R: Clone> Clone for FaultyRead<R> {
    fn clone(&self) -> Self {
        let _ = pass(&self.plan, Call::Clone);
        Self { state: self.state.clone(), plan: Arc::clone(&self.plan) }
    }
}

impl<R: KvRead> KvRead for FaultyRead<R> {
    type Key = R::Key;
    type Value = R::Value;
    type Iter = FaultyIter<R::Iter>;
    type Root = Self;

    fn get(&self, key: &R::Key) -> Result<Option<R::Value>, Error> {
        pass(&self.plan, Call::Read)?;
        self.state.get(key)
    }

    fn scan(&self, range: KeyRange<R::Key>) -> Self::Iter {
        let walk = pass(&self.plan, Call::Scan).map(|()| self.state.scan(range));
        FaultyIter { walk: Some(walk), plan: Arc::clone(&self.plan) }
    }

    fn root(&self) -> &Self {
        self
    }
}

/// A walk over a [`FaultyRead`]; over after an error.
pub(crate) struct FaultyIter<I> {
    /// An error where the opening failed, to be told at the first step; nothing after any error.
    walk: Option<Result<I, Error>>,
    plan: Arc<Mutex<Plan>>,
}

impl<T, I: Iterator<Item = Result<T, Error>>> FaultyIter<I> {
    fn step(&mut self, take: impl FnOnce(&mut I) -> Option<I::Item>) -> Option<I::Item> {
        let Some(Ok(walk)) = &mut self.walk else { return self.walk.take()?.err().map(Err) };
        let step = pass(&self.plan, Call::Step).map_or_else(|error| Some(Err(error)), |()| take(walk));
        if let Some(Err(_)) = step {
            self.walk = None;
        }
        step
    }
}

impl<T, I: Iterator<Item = Result<T, Error>>> Iterator for FaultyIter<I> {
    type Item = I::Item;
    fn next(&mut self) -> Option<I::Item> {
        self.step(I::next)
    }
}

impl<T, I: DoubleEndedIterator<Item = Result<T, Error>>> DoubleEndedIterator for FaultyIter<I> {
    fn next_back(&mut self) -> Option<I::Item> {
        self.step(I::next_back)
    }
}

/// Runs `work` on a thread of its own and returns what it gives; fails if it does not finish. For what must not wait while
/// something is parked.
pub(crate) fn finishes<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = channel();
    let thread = thread::spawn(move || {
        let _ = done.send(work());
    });
    match finished.recv_timeout(HANG) {
        Ok(value) => value,
        Err(_) if thread.is_finished() => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("it sends before it ends"),
        },
        Err(_) => panic!("{what} waits for what is parked"),
    }
}
