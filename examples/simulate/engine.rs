//! The simulation: workers in virtual time around the library's scheduler.
//!
//! A worker claims, executes, publishes, commits and sleeps as the library's do, one step after the other; each step takes
//! the time that was measured for it. What a transaction reads is the highest version below it at the moment of the read.

use crate::block::Tx;
use crate::production::parking::Parking;
use crate::production::scheduler::Scheduler;
use crate::production::status::{Judged, Task, Verdict};
use crate::production::window::{RunAhead, Window};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// What the executor's steps take, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// An execution at the frontier, beside the transaction itself: claim, view, publication.
    pub at_frontier: u64,
    /// One in advance of it: the reads are recorded as well.
    pub in_advance: u64,
    /// A commit, by who commits.
    pub commit: u64,
    /// What a commit of an execution in advance takes beyond that: its reads are checked.
    pub check: u64,
    /// What is claimed and committed beside others is fetched from their caches.
    pub shared: u64,
    /// How long an idle worker looks about before it sleeps.
    pub look: u64,
    /// To call a sleeper, for who calls.
    pub call: u64,
    /// Until it is awake.
    pub wake: u64,
}

/// How a block is executed.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub workers: usize,
    pub window: RunAhead,
    /// Transactions a worker.
    pub run_ahead: u32,
    pub steps: Steps,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub time: u64,
    pub executions: u64,
    pub at_frontier: u64,
    pub windows: u64,
}

/// Where a read's answer came from: the execution of a transaction, or the state before the block.
type Origin = Option<(u32, u32)>;

/// What an execution leaves behind.
#[derive(Debug, Default)]
pub struct Run {
    reads: Vec<(u32, Origin)>,
    in_advance: bool,
    /// How many places ahead of the frontier the last one that was not at it began.
    ahead: u32,
}

/// A key's versions: the incarnation that wrote it, or an estimate; and one more than the highest reader.
#[derive(Default)]
struct Chain {
    versions: BTreeMap<u32, Option<u32>>,
    readers_end: u32,
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// Looks for work, idle since then.
    Look(Option<u64>),
    /// Reads the key at this place.
    Read(usize),
    End,
    /// Commits, and then does what a finished execution is to do.
    Commit,
}

struct Worker {
    task: Option<Task<Run>>,
    /// What it executes next, since it was left to who commits.
    left: Option<Task<Run>>,
    /// Where it saw the frontier stand still when it had nothing to do.
    stalled: u32,
    began: u64,
    reads: Vec<(u32, Origin)>,
}

struct Simulation<'b> {
    block: &'b [Tx],
    machine: Machine,
    scheduler: Scheduler<Run>,
    window: Window,
    parking: Arc<Parking>,
    chains: Vec<Chain>,
    workers: Vec<Worker>,
    asleep: Vec<usize>,
    /// Whether somebody commits, and whether somebody else has asked for it meanwhile.
    committing: bool,
    asked: bool,
    events: BinaryHeap<Reverse<(u64, u64, usize, Next)>>,
    numbered: u64,
    outcome: Outcome,
}

/// Executes `block` on `machine`.
pub fn simulate(block: &[Tx], machine: Machine) -> Outcome {
    let keys = block.iter().flat_map(|tx| tx.reads.iter().chain(&tx.writes)).max().map_or(0, |key| *key as usize + 1);
    let workers = machine.workers as u32;
    let window = Window::new(machine.window, machine.run_ahead.saturating_mul(workers));
    let parking = Arc::new(Parking::default());
    let scheduler = Scheduler::new(block.len() as u32, machine.workers, window.width(), Arc::clone(&parking), |_| None);
    // One worker executes everything as it comes, like the library's.
    let scheduler = match machine.workers {
        1 => scheduler,
        _ => {
            let left: Vec<_> = (0..).zip(block).filter(|(_, tx)| tx.left).map(|(index, _)| index).collect();
            scheduler.leaving(window.width(), &left)
        }
    };
    let idle = || Worker { task: None, left: None, stalled: u32::MAX, began: 0, reads: Vec::new() };
    let mut simulation = Simulation {
        block,
        machine,
        scheduler,
        window,
        parking,
        chains: (0..keys).map(|_| Chain::default()).collect(),
        workers: (0..machine.workers).map(|_| idle()).collect(),
        asleep: Vec::new(),
        committing: true,
        asked: false,
        events: BinaryHeap::new(),
        numbered: 0,
        outcome: Outcome::default(),
    };
    simulation.then(0, 0, Next::Commit); // what is left may come first
    (1..machine.workers).for_each(|worker| simulation.then(0, worker, Next::Look(None)));
    simulation.run();
    simulation.outcome
}

impl Simulation<'_> {
    fn then(&mut self, time: u64, worker: usize, next: Next) {
        self.numbered += 1;
        self.events.push(Reverse((time, self.numbered, worker, next)));
    }

    fn run(&mut self) {
        while let Some(Reverse((now, _, worker, next))) = self.events.pop() {
            if self.scheduler.is_stopped() {
                break;
            }
            match next {
                Next::Look(since) => self.look(now, worker, since),
                Next::Read(place) => self.read(now, worker, place),
                Next::End => self.end(now, worker),
                Next::Commit => self.commit(now, worker),
            }
        }
    }

    /// Those who have been called wake up in a while; what it took to call them.
    fn called(&mut self, now: u64) -> u64 {
        let called = u64::from(self.parking.take_called());
        for _ in 0..called {
            let sleeper = self.asleep.pop().expect("it was registered");
            self.then(now + self.machine.steps.wake, sleeper, Next::Look(None));
        }
        called * self.machine.steps.call
    }

    fn look(&mut self, now: u64, worker: usize, since: Option<u64>) {
        let Machine { steps, workers, .. } = self.machine;
        let at_hand = &mut self.workers[worker];
        let left = at_hand.left.take();
        let shared = if workers > 1 && left.is_none() { steps.shared } else { 0 };
        let claimed = left.or_else(|| self.scheduler.claim());
        let frontier = self.scheduler.frontier();
        let stalled = at_hand.stalled;
        if since.is_some() {
            at_hand.stalled = frontier;
        }
        let Some(task) = claimed.or_else(|| self.scheduler.claim_left(stalled)) else {
            let since = since.unwrap_or(now);
            if now - since < steps.look {
                self.then(now + (steps.look / 8).max(1), worker, Next::Look(Some(since)));
            } else {
                self.parking.sleep();
                self.asleep.push(worker);
            }
            return;
        };
        self.outcome.executions += 1;
        self.outcome.at_frontier += u64::from(task.at_frontier);
        let overhead = if task.at_frontier { steps.at_frontier } else { steps.in_advance };
        let began = now + self.called(now) + shared + overhead;
        let tx = &self.block[task.tx as usize];
        let next = if tx.reads.is_empty() || task.at_frontier { Next::End } else { Next::Read(0) };
        let at = if next == Next::End { began + tx.cost } else { began + tx.read_at(0) };
        let stalled = self.workers[worker].stalled;
        self.workers[worker] = Worker { task: Some(task), left: None, stalled, began, reads: Vec::new() };
        self.then(at, worker, next);
    }

    fn read(&mut self, now: u64, worker: usize, place: usize) {
        let at_hand = &mut self.workers[worker];
        let task = at_hand.task.as_ref().expect("it executes");
        let tx = &self.block[task.tx as usize];
        let key = tx.reads[place];
        let chain = &mut self.chains[key as usize];
        chain.readers_end = chain.readers_end.max(task.tx + 1);
        match chain.top(task.tx) {
            Err(on) => {
                let index = task.tx;
                let ahead = at_hand.task.take().map_or(0, |task| task.ahead);
                self.scheduler.block(index, on, Run { ahead, ..Run::default() });
                let after = now + self.called(now);
                self.then(after, worker, Next::Look(None));
            }
            Ok(origin) => {
                at_hand.reads.push((key, origin));
                let (next, at) = match tx.reads.len() > place + 1 {
                    true => (Next::Read(place + 1), tx.read_at(place + 1)),
                    false => (Next::End, tx.cost),
                };
                let at = at_hand.began + at;
                self.then(at, worker, next);
            }
        }
    }

    fn end(&mut self, now: u64, worker: usize) {
        let task = self.workers[worker].task.as_ref().expect("it executes");
        let (index, incarnation, in_advance) = (task.tx, task.incarnation, !task.at_frontier);
        let ahead = if in_advance { task.ahead } else { task.previous.as_ref().map_or(0, |run| run.ahead) };
        for key in &self.block[index as usize].writes {
            self.chains[*key as usize].versions.insert(index, Some(incarnation));
        }
        let reads = std::mem::take(&mut self.workers[worker].reads);
        let at_frontier = self.scheduler.finish(index, Run { reads, in_advance, ahead });
        let after = now + self.called(now);
        if at_frontier && !self.committing {
            self.committing = true;
            self.then(after, worker, Next::Commit);
        } else {
            self.asked |= at_frontier;
            self.leave(after, worker);
        }
    }

    /// Executes again whom the finished execution has doomed, and goes on.
    fn leave(&mut self, now: u64, worker: usize) {
        let Some(task) = self.workers[worker].task.take() else { return self.then(now, worker, Next::Look(None)) };
        let tx = &self.block[task.tx as usize];
        let readers_end = tx.writes.iter().map(|key| self.chains[*key as usize].readers_end).max().unwrap_or(0);
        let (chains, block) = (&mut self.chains, self.block);
        let mut checks = 0;
        self.scheduler.abort_doomed(task.tx + 1, readers_end, |reader, run| {
            checks += u64::from(run.in_advance);
            let doomed = run.in_advance && !holds(chains, reader, run);
            if doomed {
                estimate(chains, block, reader);
            }
            doomed
        });
        let after = now + checks * self.machine.steps.check + self.called(now);
        self.then(after, worker, Next::Look(None));
    }

    fn commit(&mut self, now: u64, worker: usize) {
        let Machine { steps, workers, .. } = self.machine;
        if let Some(task) = self.scheduler.take_left() {
            self.workers[worker].left = Some(task);
            return self.committed(now, worker);
        }
        let (chains, block, mut failed, mut in_advance) = (&mut self.chains, self.block, None, false);
        let judged = self.scheduler.judge(|index, run| {
            in_advance = run.in_advance;
            if !run.in_advance || holds(chains, index, run) {
                return Verdict::Commit;
            }
            failed = Some((index, run.ahead));
            estimate(chains, block, index);
            Verdict::Abort
        });
        if let Some((failed, ahead)) = failed {
            if !self.scheduler.leaves(failed) {
                self.window.failed(failed, ahead);
            }
            self.scheduler.narrow(self.window.width());
        }
        let check = if in_advance { steps.check + if workers > 1 { steps.shared } else { 0 } } else { 0 };
        let Some(Judged { index, run, executions }) = judged else {
            return self.committed(now + check, worker);
        };
        match self.scheduler.leaves(index) {
            true if executions > 1 => self.scheduler.leave_next(index),
            true => {}
            false => {
                let (in_advance, ahead) = run.map_or((false, 0), |run| (run.in_advance, run.ahead));
                self.window.committed(index, executions, in_advance, ahead);
            }
        }
        self.scheduler.commit(index, self.window.width());
        self.outcome.windows += u64::from(self.window.width());
        let after = now + steps.commit + check + self.called(now);
        if index as usize + 1 == self.block.len() {
            self.outcome.time = after;
            self.scheduler.stop();
        }
        self.then(after, worker, Next::Commit);
    }

    /// There is nothing more to commit: looks again if somebody has asked meanwhile.
    fn committed(&mut self, now: u64, worker: usize) {
        let after = now + self.called(now);
        if std::mem::take(&mut self.asked) {
            self.then(after, worker, Next::Commit);
        } else {
            self.committing = false;
            self.leave(after, worker);
        }
    }
}

impl Chain {
    /// What a transaction at `below` reads, or whose estimate it meets.
    fn top(&self, below: u32) -> Result<Origin, u32> {
        match self.versions.range(..below).next_back() {
            None => Ok(None),
            Some((tx, Some(incarnation))) => Ok(Some((*tx, *incarnation))),
            Some((tx, None)) => Err(*tx),
        }
    }
}

fn holds(chains: &[Chain], tx: u32, run: &Run) -> bool {
    run.reads.iter().all(|(key, origin)| chains[*key as usize].top(tx) == Ok(*origin))
}

fn estimate(chains: &mut [Chain], block: &[Tx], tx: u32) {
    for key in &block[tx as usize].writes {
        chains[*key as usize].versions.insert(tx, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{critical_path, total};

    /// A block of `len` with reads and writes from a small generator.
    fn block(len: u64, keys: u64, reads_first: bool) -> Vec<Tx> {
        let mut state = len ^ keys << 20;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut tx = |_| {
            let mut some = || (0..1 + random(2)).map(|_| random(keys) as u32).collect::<Vec<_>>();
            let (reads, writes) = (some(), some());
            Tx { cost: 100 + random(9_900), reads, writes, reads_first, left: random(4) == 0 }
        };
        (0..len).map(&mut tx).collect()
    }

    fn machine(workers: usize, window: RunAhead, steps: Steps) -> Machine {
        Machine { workers, window, run_ahead: 64, steps }
    }

    const POLICIES: [RunAhead; 2] = [RunAhead::Fixed, RunAhead::Adaptive];

    #[test]
    fn one_worker_takes_the_sum_of_all_costs() {
        for window in POLICIES {
            for keys in [1, 10, 1_000] {
                let block = block(300, keys, false);
                let free = simulate(&block, machine(1, window, Steps::default()));
                assert_eq!(free.time, total(&block));
                assert_eq!((free.executions, free.at_frontier), (300, 300));
                let steps = Steps {
                    at_frontier: 40,
                    commit: 7,
                    in_advance: 1_000,
                    check: 1_000,
                    shared: 9,
                    ..Steps::default()
                };
                assert_eq!(simulate(&block, machine(1, window, steps)).time, total(&block) + 300 * 47);
            }
        }
    }

    #[test]
    fn no_number_of_workers_beats_the_critical_path_or_its_share_of_the_work() {
        for window in POLICIES {
            for workers in [2, 3, 8, 64] {
                for keys in [1, 3, 10, 100, 10_000] {
                    for reads_first in [false, true] {
                        let block = block(200, keys, reads_first);
                        let time = simulate(&block, machine(workers, window, Steps::default())).time;
                        assert!(time >= critical_path(&block), "{workers} workers, {keys} keys");
                        assert!(time >= total(&block) / workers as u64, "{workers} workers, {keys} keys");
                        assert!(time <= 3 * total(&block), "{workers} workers, {keys} keys");
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_nothing_to_do_with_each_other_is_divided() {
        let alone = |key| Tx { cost: 1_000, reads: vec![key], writes: vec![key], reads_first: true, left: false };
        let block: Vec<_> = (0..640).map(alone).collect();
        for window in POLICIES {
            for workers in [2, 8, 64] {
                let took = simulate(&block, machine(workers, window, Steps::default()));
                assert!(took.time <= total(&block) / workers as u64 * 3 / 2, "{workers} workers: {took:?}");
                assert_eq!(took.executions, 640);
            }
        }
    }

    #[test]
    fn a_chain_takes_as_long_as_one_after_the_other() {
        let chain = Tx { cost: 1_000, reads: vec![0], writes: vec![0], reads_first: true, left: false };
        let block = vec![chain; 1_000];
        assert_eq!(critical_path(&block), total(&block));
        let took = simulate(&block, machine(8, RunAhead::Adaptive, Steps::default()));
        assert!(took.time >= total(&block) && took.time < total(&block) * 11 / 10, "{took:?}");
        // Eight workers begin wide, and each of what they tried is tried again when the frontier is near.
        assert!(took.executions < 1_300, "{took:?}");
    }

    /// What a chain has held up is soon divided, though most of it was tried in vain before.
    #[test]
    fn what_reads_the_end_of_a_chain_is_divided() {
        let writes = |index| if index < 10 { 0 } else { index };
        let tx =
            |index| Tx { cost: 1_000, reads: vec![0], writes: vec![writes(index)], reads_first: true, left: false };
        let block: Vec<_> = (0..250).map(tx).collect();
        for (workers, most) in [(2, 65), (8, 40)] {
            let took = simulate(&block, machine(workers, RunAhead::Adaptive, Steps::default()));
            assert!(took.time < total(&block) * most / 100, "{workers} workers: {took:?}");
        }
    }

    /// Short ones and long ones on one key: what is tried in vain costs neither its time nor that of others.
    #[test]
    fn a_chain_of_short_and_long_takes_as_long_as_one_after_the_other() {
        let tx = |index| {
            let is_long = index % 6 == 5;
            Tx {
                cost: if is_long { 30_000 } else { 1_000 },
                reads: vec![0],
                writes: vec![0],
                reads_first: true,
                left: !is_long,
            }
        };
        let block: Vec<_> = (0..1_200).map(tx).collect();
        for workers in [2, 8] {
            // Who has nothing to do looks about, and finds what is left.
            let steps = Steps { look: 100_000, ..Steps::default() };
            let took = simulate(&block, machine(workers, RunAhead::Adaptive, steps));
            assert!(took.time < total(&block) * 11 / 10, "{workers} workers: {took:?}");
            assert!(took.executions < 2_400, "{workers} workers: {took:?}");
        }
    }
}
