//! The program over several processes: shards it starts, shards it is told of, and what happens when either side is killed,
//! asked to end, or cannot start.

use super::cli::{height, json, run, state, twin::Twin};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A shard that the test has started.
struct Shard {
    child: Child,
    said: BufReader<ChildStdout>,
    /// Its first line.
    line: String,
    address: String,
}

fn program(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachekv"));
    command.args(args.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Shard {
    fn start(args: &str) -> Self {
        let mut child = program(&format!("shard --threads 1 {args}")).spawn().unwrap();
        let (mut said, mut line) = (BufReader::new(child.stdout.take().unwrap()), String::new());
        said.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").map(|rest| rest.split(' ').next().unwrap().to_owned());
        Self { child, said, address: address.unwrap_or_else(|| panic!("it says {line:?}")), line }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its status, and what it said until then.
    fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap().code();
        let mut all = String::new();
        self.said.read_to_string(&mut all).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut all).unwrap();
        assert!(!all.contains("panicked"), "{all}");
        (status, all)
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until `what` is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a run leaves: `blocks` blocks of 200 transfers between 300 accounts.
fn check(path: &Path, blocks: u64) {
    let mut twin = Twin::new(5, 300);
    twin.advance(blocks, 200);
    assert_eq!(state(path), twin.state);
}

const TRANSFERS: &str = "--db it --accounts 300 --seed 5 --txns 200 --readers 0 --threads 1";

#[test]
fn one_command_starts_shards_and_executes_every_workload_over_them() {
    let dir = tempfile::tempdir().unwrap();
    for workload in ["transfers", "orderbook", "hotkey", "mixed"] {
        let args = format!("--shards local:2 --workload {workload} --blocks 4 --txns 120 --accounts 400 --work 1");
        let done = json(dir.path(), &args);
        assert_eq!(done["agree"], true);
        assert_eq!(done["shards"]["shards"], 2, "{workload}: {done}");
        assert_eq!(done["shards"]["sharded_blocks"], 4, "{workload}: {}", done["shards"]);
    }
}

#[test]
fn what_shards_leave_is_what_the_twin_does() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Shard::start("--listen 127.0.0.1:0"), Shard::start("--listen 127.0.0.1:0"));
    let done = json(dir.path(), &format!("{TRANSFERS} --blocks 5 --shards {},{}", one.address, two.address));
    assert_eq!(done["shards"]["sharded_blocks"], 5);
    check(&dir.path().join("it"), 5);
    for shard in [one, two] {
        shard.signal(Signal::TERM);
        let (status, said) = shard.ended();
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("5 shares done, 0 came to nothing"), "{said}");
    }
}

/// Starts a run of many blocks that nobody waits for.
fn long_run(dir: &Path, more: &str) -> Child {
    let args = format!("run {TRANSFERS} --work 20 --blocks 100000 --patience 1500 --json {more}");
    program(&args).current_dir(dir).spawn().unwrap()
}

fn grows(path: &Path, beyond: u64) -> impl FnMut() -> bool {
    // The file is its writer's alone; that it has been written to is seen from outside.
    let (path, modified) =
        (path.to_owned(), move |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok());
    let mut times = 0;
    let mut last = modified(&path);
    move || {
        let now = modified(&path);
        times += u64::from(now != last);
        last = now;
        times > beyond
    }
}

/// Asks a run to end, and gives what it printed.
fn asked_to_end(child: Child) -> Output {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("panicked"), "{:?}: {said}", output.status);
    output
}

/// Shards are killed, stopped, asked to end and started again under a run, which goes on, and leaves what it should.
#[test]
fn a_run_goes_on_whatever_happens_to_its_shards() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it");
    let (one, two) = (Shard::start("--listen 127.0.0.1:0"), Shard::start("--listen 127.0.0.1:0"));
    let (address, other) = (one.address.clone(), two.address.clone());
    let child = long_run(dir.path(), &format!("--shards {address},{other}"));
    let on = |what: &str| until(what, grows(&path, 3));
    until("the run begins", || path.exists());
    on("at first");
    one.signal(Signal::KILL);
    drop(one);
    on("one is killed");
    let one = Shard::start(&format!("--listen {address}"));
    on("it is there again");
    two.signal(Signal::STOP);
    on("the other is stopped");
    two.signal(Signal::CONT);
    on("it goes on");
    two.signal(Signal::TERM);
    assert_eq!(two.ended().0, Some(0), "it ends what it has");
    on("the other is gone");
    drop(one);
    on("both are gone");
    let output = asked_to_end(child);
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["agree"], true);
    assert!(done["shards"]["sharded_blocks"].as_u64() > Some(0), "{}", done["shards"]);
    check(&path, done["height"].as_u64().unwrap());
}

/// The coordinator is killed in the middle, again and again: its shards serve the next one, and what is in the store is right.
#[test]
fn shards_serve_the_next_coordinator() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it");
    let (one, two) = (Shard::start("--listen 127.0.0.1:0"), Shard::start("--listen 127.0.0.1:0"));
    let shards = format!("--shards {},{}", one.address, two.address);
    for beyond in [0, 1, 4] {
        let mut child = long_run(dir.path(), &shards);
        until("the run begins", || path.exists());
        until("it goes on", grows(&path, beyond));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let before = height(&state(&path));
    let done = json(dir.path(), &format!("{TRANSFERS} --blocks 5 {shards}"));
    assert_eq!((done["from_height"].as_u64(), done["shards"]["sharded_blocks"].as_u64()), (Some(before), Some(5)));
    check(&path, before + 5);
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn figures_and_health_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let shard = Shard::start("--listen 127.0.0.1:0 --metrics 127.0.0.1:0");
    let metrics = shard.line.trim_end().rsplit(' ').next().unwrap().to_owned();
    json(dir.path(), &format!("{TRANSFERS} --blocks 3 --shards {} --metrics 127.0.0.1:0", shard.address));
    let figures = get(&metrics, "/metrics");
    assert!(figures.starts_with("HTTP/1.1 200") && figures.contains("version=0.0.4"), "{figures}");
    assert!(figures.contains("\ncachekv_shard_done_total 3\n"), "{figures}");
    assert!(figures.contains("\n# TYPE cachekv_shard_blocks gauge\ncachekv_shard_blocks 0\n"), "{figures}");
    assert!(get(&metrics, "/health").starts_with("HTTP/1.1 200"));
    assert!(get(&metrics, "/else").starts_with("HTTP/1.1 404"));
}

#[test]
fn what_cannot_start_says_why_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let pem = format!("{}/tests/it/remote/certificates/shard.pem", env!("CARGO_MANIFEST_DIR"));
    let refused = [
        (format!("shard --listen {taken}"), 3, "in use"),
        ("shard --listen nowhere".into(), 3, "nowhere"),
        ("shard --listen 0.0.0.0:0".into(), 3, "TLS"),
        ("shard --listen 127.0.0.1:0 --metrics 0.0.0.0:0".into(), 2, "--plain-beyond-loopback"),
        (format!("shard --listen 127.0.0.1:0 --metrics {taken}"), 3, "metrics"),
        (format!("shard --listen 127.0.0.1:0 --tls-certificate {pem}"), 2, "--tls-key"),
        (format!("shard --listen 127.0.0.1:0 --tls-certificate {pem} --tls-key {pem} --tls-authority {pem}"), 2, "key"),
        (format!("shard --listen 127.0.0.1:0 --tls-certificate {pem} --tls-key none --tls-authority {pem}"), 2, "none"),
        ("shard --listen 127.0.0.1:0 --log no=such=filter".into(), 2, "--log"),
        ("run --shards local:0".into(), 2, "local:0"),
        ("run --shards 127.0.0.1".into(), 2, "127.0.0.1"),
    ];
    for (args, status, word) in refused {
        let output = program(&args).env("CACHEKV_LOG", "off").current_dir(dir.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{args}: {said}");
        assert!(said.starts_with("cachekv: ") && said.lines().count() == 1 && said.contains(word), "{args}: {said}");
    }
}

/// Both sides with certificates; and a coordinator without one gets nowhere.
#[test]
fn work_is_taken_from_those_with_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = format!("{}/tests/it/remote/certificates", env!("CARGO_MANIFEST_DIR"));
    let tls = |name: &str| {
        format!(
            "--tls-certificate {certificates}/{name}.pem --tls-key {certificates}/{name}.key --tls-authority {certificates}/authority.pem"
        )
    };
    let shard = Shard::start(&format!("--listen 127.0.0.1:0 {}", tls("shard")));
    let shards = format!("{TRANSFERS} --blocks 2 --shards {}", shard.address);
    let done = json(dir.path(), &format!("{shards} {}", tls("coordinator")));
    assert_eq!(done["shards"]["sharded_blocks"], 2);
    let refused = run(dir.path(), &shards);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("no shard answers"), "{said}");
}

/// Logs are JSON, and carry session, block and shard.
#[test]
fn logs_carry_session_block_and_shard() {
    let dir = tempfile::tempdir().unwrap();
    let shard = Shard::start("--listen 127.0.0.1:0 --log cachekv=debug --log-json");
    let address = shard.address.clone();
    json(dir.path(), &format!("{TRANSFERS} --blocks 2 --shards {address}"));
    shard.signal(Signal::TERM);
    let (_, said) = shard.ended();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let begins: Vec<_> = lines.filter(|line| line["fields"]["message"] == "a share begins").collect();
    assert_eq!(begins.len(), 2, "{said}");
    for (block, line) in (1..).zip(begins) {
        let fields = &line["fields"];
        assert_eq!((fields["block"].as_u64(), fields["shard"].as_str()), (Some(block), Some(&address[..])), "{line}");
        assert!(fields["session"].as_u64().is_some(), "{line}");
    }
}
