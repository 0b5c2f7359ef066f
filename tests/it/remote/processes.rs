//! Shards that are processes of their own, reached over sockets: killed, stopped, started again, cut off, at any moment of a
//! block. Whatever happens to them: the block is right or ends with an error of its type in time, the next one is right, nobody
//! panics, and threads and file descriptors come back to where they were.
//!
//! The processes are this test binary, asked for one of its ignored tests. What is measured of a process is measured in one
//! that does nothing else.

use super::machine::{Expected, Machine, Script, State, Step, oracle};
use super::proxy::Proxy;
use super::rig::{LONG, applied, link, options, shard_config, within};
use cachekv::kv::{KvStore, MemStore};
use cachekv::remote::{
    BlockOptions, Cluster, ClusterConfig, DialConfig, GrpcDialer, GrpcListener, How, ListenConfig, RemoteError,
    RemoteResult, Shard,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const KEYS: u16 = 64;
pub const MACHINE: Machine = Machine { keys: KEYS };

/// How long a silent peer is waited for here: longer than a busy machine makes anybody wait for a core.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// This binary, running one ignored test of this folder.
pub fn this_binary(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("remote::{test}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A shard that is a process.
pub struct Process {
    pub child: Child,
    said: BufReader<ChildStdout>,
    pub address: String,
}

impl Process {
    pub fn start(listen: &str) -> Self {
        let mut command = this_binary("processes::shard_process");
        let mut child = command.env("CACHEKV_TEST_LISTEN", listen).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the shard has ended");
            if let Some(address) = line.trim_end().strip_prefix("listening on ") {
                break address.to_owned();
            }
        };
        Self { child, said, address }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its threads and file descriptors.
    fn size(&self) -> (usize, usize) {
        let count = |what: &str| fs::read_dir(format!("/proc/{}/{what}", self.child.id())).unwrap().count();
        (count("task"), count("fd"))
    }

    /// Kills it; it must not have panicked before.
    fn kill(mut self) -> String {
        self.signal(Signal::KILL);
        self.reaped()
    }

    /// Its address, once it has been killed; it must not have panicked before.
    pub fn reaped(&mut self) -> String {
        self.child.wait().unwrap();
        self.check();
        self.address.clone()
    }

    /// Lets it end by itself.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        self.check();
    }

    fn check(&mut self) {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        self.said.read_to_string(&mut errors).unwrap();
        assert!(!errors.contains("panicked"), "a shard panicked: {errors}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// No test, but a shard for those below: it serves until its standard input ends.
#[test]
#[ignore = "a process of the other tests"]
fn shard_process() {
    let Ok(listen) = std::env::var("CACHEKV_TEST_LISTEN") else { return };
    // A port that has just been left may be taken for a moment.
    let until = within(LONG);
    let listener = loop {
        match GrpcListener::new(&listen, ListenConfig::default()) {
            Ok(listener) => break listener,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    };
    println!("\nlistening on {}", listener.address());
    let shard = Shard::start(MACHINE, Arc::new(listener), shard_config(link(PATIENCE), 1)).unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    assert!(shard.drain(within(LONG)));
    assert_eq!(shard.shutdown(within(LONG)), Ok(()));
}

pub fn cluster(addresses: &[String], patience: Duration) -> Cluster<Machine> {
    let mut dial = DialConfig::default();
    dial.again = (Duration::from_millis(5), Duration::from_millis(40));
    dial.connect = Duration::from_millis(500);
    let dialer = GrpcDialer::new(addresses, &dial).unwrap();
    let peers = dialer.peers();
    let mut config = ClusterConfig::default();
    (config.threads, config.link) = (1, link(patience));
    (config.pushed_keys, config.pushed_answers) = (2, 1); // the rest is asked for
    Cluster::start(MACHINE, Arc::new(dialer), &peers, config).unwrap()
}

pub fn up(cluster: &Cluster<Machine>, shards: usize) {
    assert_eq!(cluster.handle().shards_up(shards, within(LONG)).len(), shards, "the shards do not come up");
}

/// A block whose transactions take their time, and depend on each other across shards.
fn block(len: u16, for_ms: u16) -> Vec<Script> {
    let script = |n: u16| {
        let meets = [Step::Get(n % 8), Step::Linger(for_ms), Step::Set((n * 7) % 40), Step::Add(50, 1)];
        Script(meets.into_iter().chain([Step::Set(n % 8)]).collect())
    };
    (0..len).map(script).collect()
}

fn state() -> State {
    (0..KEYS).map(|key| (key, u64::from(key) * 3)).collect()
}

fn execute(cluster: &mut Cluster<Machine>, block: &[Script], due: &Expected, time: Duration) -> RemoteResult<Machine> {
    let snapshot = MemStore::from_iter(state()).snapshot().unwrap();
    let options = BlockOptions { attempts: 3, ..options(time) };
    cluster.execute(&snapshot, block, &due.accesses, options)
}

/// Executes a block that must come to what it has to.
pub fn right(cluster: &mut Cluster<Machine>, len: u16) -> How {
    let block = block(len, 0);
    let due = oracle(&state(), &block, KEYS);
    let result = execute(cluster, &block, &due, LONG);
    assert_eq!(applied(&state(), &result), due.state);
    let done = result.unwrap();
    assert_eq!(done.output.outputs, due.outputs);
    done.how
}

pub fn is_over(how: &How, over: usize) -> bool {
    matches!(how, How::Sharded { shards, .. } if *shards == over)
}

/// Executes blocks until one is over so many shards.
pub fn until_over(cluster: &mut Cluster<Machine>, shards: usize) {
    let end = within(LONG);
    up(cluster, shards);
    while !is_over(&right(cluster, 40), shards) {
        assert!(Instant::now() < end, "a shard that is there is not used");
    }
}

/// Executes a block of some 120 ms while `trouble` happens to it, which is right, or an error in time.
fn troubled(cluster: &mut Cluster<Machine>, after: Duration, trouble: impl FnOnce() + Send) -> bool {
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(after); // says when, and not what must hold
            trouble();
        });
        is_right_or_an_error(cluster)
    })
}

/// Executes a block of some 120 ms, to which something happens: whether it is right, or else an error in time.
pub fn is_right_or_an_error(cluster: &mut Cluster<Machine>) -> bool {
    let block = block(80, 3);
    let due = oracle(&state(), &block, KEYS);
    let (began, time) = (Instant::now(), Duration::from_secs(20));
    let result = execute(cluster, &block, &due, time);
    assert!(began.elapsed() < time + Duration::from_secs(5), "the deadline has passed by far");
    match result {
        Ok(ref done) => {
            assert_eq!(done.output.outputs, due.outputs);
            assert_eq!(applied(&state(), &result), due.state);
            true
        }
        Err(RemoteError::Attempt(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// The moments, of a block of some 120 ms, at which something happens.
const MOMENTS: [u64; 5] = [0, 2, 20, 80, 150];

/// `kill -9` of a shard at any step of a block, and its start at the same port: the block goes on with the other, and the next
/// one is over both again.
#[test]
fn a_shard_that_is_killed_costs_its_block_time_and_nothing_else() {
    let stays = Process::start("127.0.0.1:0");
    let mut dies = Process::start("127.0.0.1:0");
    let mut cluster = cluster(&[dies.address.clone(), stays.address.clone()], PATIENCE);
    until_over(&mut cluster, 2);
    for after in MOMENTS {
        let mut address = String::new();
        let killed = troubled(&mut cluster, Duration::from_millis(after), || address = dies.kill());
        assert!(killed, "killed after {after} ms: there was another shard, and time");
        dies = Process::start(&address);
        until_over(&mut cluster, 2);
    }
    stays.end();
    dies.end();
}

/// SIGSTOP of a shard at any step, for longer than it is waited for, and SIGCONT: the same. What it says then is of a block that
/// is over.
#[test]
fn a_shard_that_is_stopped_is_done_without_and_comes_back() {
    let (stops, stays) = (Process::start("127.0.0.1:0"), Process::start("127.0.0.1:0"));
    let mut cluster = cluster(&[stops.address.clone(), stays.address.clone()], PATIENCE);
    up(&cluster, 2);
    for after in MOMENTS {
        assert!(troubled(&mut cluster, Duration::from_millis(after), || stops.signal(Signal::STOP)), "{after} ms");
        stops.signal(Signal::CONT);
        right(&mut cluster, 40);
        until_over(&mut cluster, 2);
    }
    stops.end();
    stays.end();
}

/// All shards are gone at once, and come back: an error of its type before the deadline, and a right next block.
#[test]
fn without_any_shard_a_block_ends_in_time() {
    let shard = Process::start("127.0.0.1:0");
    let mut cluster = cluster(std::slice::from_ref(&shard.address), PATIENCE);
    up(&cluster, 1);
    let mut address = String::new();
    assert!(!troubled(&mut cluster, Duration::ZERO, || address = shard.kill()), "nobody was there");
    let again = Process::start(&address);
    until_over(&mut cluster, 1);
    again.end();
}

/// Coordinators come and go, in good order and not, and their connections are cut: a shard serves the next one, and is no
/// larger afterwards.
#[test]
fn a_shard_outlives_its_coordinators_and_keeps_nothing_of_them() {
    let shard = Process::start("127.0.0.1:0");
    let proxy = Proxy::to(shard.address.clone());
    let serve = |abandon: bool| {
        let mut cluster = cluster(std::slice::from_ref(&proxy.address), PATIENCE);
        until_over(&mut cluster, 1);
        if abandon {
            // The coordinator is gone in the middle of a block, and nobody tells the shard.
            let handle = cluster.handle();
            troubled(&mut cluster, Duration::from_millis(20), || {
                proxy.cut();
                drop(handle.shutdown(within(LONG)));
            });
        }
    };
    serve(false);
    serve(true);
    let settled = |at_most: (usize, usize)| {
        let end = within(LONG);
        loop {
            let size = shard.size();
            if size.0 <= at_most.0 && size.1 <= at_most.1 {
                return;
            }
            assert!(Instant::now() < end, "{size:?} threads and descriptors, there were {at_most:?}");
            thread::sleep(Duration::from_millis(20));
        }
    };
    thread::sleep(PATIENCE * 3); // connections that were cut are noticed
    let before = shard.size();
    for abandon in [false, true, true, false, true, false] {
        serve(abandon);
    }
    settled(before);
    shard.end();
}

/// A port that takes connections and answers nothing, and one behind a line that swallows all: the rest goes on without them.
#[test]
fn a_port_that_is_a_black_hole_holds_up_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // the system takes connections for it, and nobody reads
    let shard = Process::start("127.0.0.1:0");
    let other = Process::start("127.0.0.1:0");
    let proxy = Proxy::to(other.address.clone());
    let addresses = [silent.local_addr().unwrap().to_string(), shard.address.clone(), proxy.address.clone()];
    let mut cluster = cluster(&addresses, PATIENCE);
    until_over(&mut cluster, 2);
    assert!(troubled(&mut cluster, Duration::from_millis(20), || proxy.swallow(true)));
    assert!(is_over(&right(&mut cluster, 40), 1));
    proxy.swallow(false);
    proxy.cut(); // what was swallowed has left the stream in pieces
    until_over(&mut cluster, 2);
    assert_eq!(cluster.handle().shutdown(within(LONG)), Ok(()), "calls that wait for an answer are let go");
}

/// A line that is slow is waited for; one that takes nothing more, while the queue to it fills, is given up, and nobody else
/// notices.
#[test]
fn a_line_that_is_slow_or_takes_nothing_holds_up_nobody_else() {
    let (behind, direct) = (Process::start("127.0.0.1:0"), Process::start("127.0.0.1:0"));
    let proxy = Proxy::to(behind.address.clone());
    let mut cluster = cluster(&[proxy.address.clone(), direct.address.clone()], PATIENCE);
    up(&cluster, 2);
    proxy.delay(Duration::from_millis(5));
    until_over(&mut cluster, 2);
    proxy.delay(Duration::ZERO);
    for after in [0, 20, 60] {
        assert!(troubled(&mut cluster, Duration::from_millis(after), || proxy.stall(true)));
        right(&mut cluster, 2000); // more than the queue and the sockets hold
        proxy.stall(false);
        until_over(&mut cluster, 2);
    }
}
