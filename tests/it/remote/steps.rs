//! At each step of a block, told by the messages that pass: a shard is killed or stopped, or its coordinator is.
//!
//! Between the coordinator and its two shards stand proxies that read along, so the steps are exact, however busy the machine.

use super::processes::{PATIENCE, Process, cluster, is_right_or_an_error, this_binary, until_over};
use super::proxy::Proxy;
use super::wiretap::{Kind, Step};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout};
use std::thread;

/// Every kind of message of a block, just before it passes and when it has; of those that are many, the first and one of the
/// middle.
fn steps() -> impl Iterator<Item = Step> {
    use Kind::{Answer, Begin, Done, Fetch, ResolvedDown, ResolvedUp};
    let kinds = [(Begin, 1), (Fetch, 1), (Answer, 1), (ResolvedUp, 1), (ResolvedUp, 9), (ResolvedDown, 1), (Done, 1)];
    kinds.into_iter().flat_map(|(kind, nth)| [false, true].map(|passed| Step { kind, nth, passed }))
}

/// Two shards, each behind a proxy.
struct Pair {
    shards: [Process; 2],
    proxies: [Proxy; 2],
}

impl Pair {
    fn start() -> Self {
        let shards = [(); 2].map(|()| Process::start("127.0.0.1:0"));
        let proxies = [0, 1].map(|which: usize| Proxy::to(shards[which].address.clone()));
        Self { shards, proxies }
    }

    fn addresses(&self) -> [String; 2] {
        self.proxies.each_ref().map(|proxy| proxy.address.clone())
    }

    /// The shard to which the step comes: the first has the first part of the block, for which the second waits.
    fn met_by(step: Step) -> usize {
        usize::from(step.kind == Kind::ResolvedDown)
    }

    /// `act` happens when the step comes.
    fn at(&self, step: Step, act: impl FnOnce() + Send + 'static) {
        self.proxies[Self::met_by(step)].at(step, act);
    }

    fn has_come(&self, step: Step) {
        assert!(self.proxies[Self::met_by(step)].has_happened(), "{step:?} has not come");
    }

    fn end(self) {
        self.shards.into_iter().for_each(Process::end);
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// The block is right by the other shard; one that is started again at the same port is used again.
#[test]
fn a_shard_that_is_killed_at_any_step_costs_time_and_nothing_else() {
    let mut pair = Pair::start();
    let mut cluster = cluster(&pair.addresses(), PATIENCE);
    for step in steps() {
        until_over(&mut cluster, 2);
        let dies = Pair::met_by(step);
        let shard = pid(&pair.shards[dies].child);
        pair.at(step, move || kill_process(shard, Signal::KILL).unwrap());
        assert!(is_right_or_an_error(&mut cluster), "{step:?}: there was another shard, and time");
        pair.has_come(step);
        let again = Process::start(&pair.shards[dies].reaped());
        pair.shards[dies] = again;
    }
    until_over(&mut cluster, 2);
    drop(cluster);
    pair.end();
}

/// The same of one that is stopped for longer than it is waited for, and goes on: what it then says is of a block that is over.
#[test]
fn a_shard_that_is_stopped_at_any_step_costs_time_and_nothing_else() {
    let pair = Pair::start();
    let mut cluster = cluster(&pair.addresses(), PATIENCE);
    for step in steps() {
        until_over(&mut cluster, 2);
        let shard = pid(&pair.shards[Pair::met_by(step)].child);
        pair.at(step, move || kill_process(shard, Signal::STOP).unwrap());
        assert!(is_right_or_an_error(&mut cluster), "{step:?}: there was another shard, and time");
        pair.has_come(step);
        kill_process(shard, Signal::CONT).unwrap();
    }
    until_over(&mut cluster, 2);
    drop(cluster);
    pair.end();
}

/// No test, but a coordinator for those below: it executes a block when it is told to, and one after it.
#[test]
#[ignore = "a process of the other tests"]
fn coordinator_process() {
    let Ok(shards) = std::env::var("CACHEKV_TEST_SHARDS") else { return };
    let shards: Vec<_> = shards.split(',').map(str::to_owned).collect();
    let mut cluster = cluster(&shards, PATIENCE);
    until_over(&mut cluster, shards.len());
    println!("\nready");
    std::io::stdin().read_exact(&mut [0]).unwrap();
    is_right_or_an_error(&mut cluster);
    until_over(&mut cluster, shards.len());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap(); // who is to be killed does not end before
}

struct Coordinator {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Coordinator {
    /// Starts one, and waits until it has executed a block over all of them.
    fn start(shards: &[String]) -> Self {
        let mut command = this_binary("steps::coordinator_process");
        let mut child = command.env("CACHEKV_TEST_SHARDS", shards.join(",")).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line.trim_end() != "ready" {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the coordinator has ended");
        }
        Self { child, said }
    }

    /// Lets it execute its block. Whether it came to its end, which it does not before it is told to; a panic would have ended it
    /// in another way.
    fn goes_on(mut self, may_end: bool) -> bool {
        let mut stdin = self.child.stdin.take().unwrap();
        stdin.write_all(b"\n").unwrap();
        let told = (!may_end).then_some(stdin); // else it is closed here
        let ended = self.child.wait().unwrap();
        drop(told);
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        self.said.read_to_string(&mut said).unwrap();
        assert!(!said.contains("panicked"), "{said}");
        ended.success()
    }
}

/// Its shards serve the next one.
#[test]
fn a_coordinator_that_is_killed_at_any_step_leaves_nothing_to_its_shards() {
    let pair = Pair::start();
    for step in steps() {
        let dies = Coordinator::start(&pair.addresses());
        let coordinator = pid(&dies.child);
        pair.at(step, move || kill_process(coordinator, Signal::KILL).unwrap());
        assert!(!dies.goes_on(false), "{step:?}: it was killed");
        pair.has_come(step);
    }
    until_over(&mut cluster(&pair.addresses(), PATIENCE), 2);
    pair.end();
}

/// Its block is right, or an error in time, and its next one is right over both.
#[test]
fn a_coordinator_that_is_stopped_at_any_step_goes_on() {
    let pair = Pair::start();
    for step in steps() {
        let stops = Coordinator::start(&pair.addresses());
        let coordinator = pid(&stops.child);
        pair.at(step, move || {
            kill_process(coordinator, Signal::STOP).unwrap();
            thread::spawn(move || {
                thread::sleep(PATIENCE * 2); // longer than anybody waits for it
                kill_process(coordinator, Signal::CONT).unwrap();
            });
        });
        assert!(stops.goes_on(true), "{step:?}");
        pair.has_come(step);
    }
    pair.end();
}
