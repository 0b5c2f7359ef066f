//! What a mean over one thread cannot show: a writer and an iterator at once, the slowest openings, what a flush is to
//! readers, memory. Printed as tables.
//!
//! Two threads alone and beside each other are run in turns, slice by slice, and compared within a turn: a machine that is
//! slow for a while is slow for both. A rate is given by the clock and by the time that the thread was on a processor
//! (`cpu`), which leaves out what other programs took, and also the time asleep in a lock.

use crate::subject::{Entry, NAMES, Shuffle, Subject, mixed, store, subject};
use bytes::Bytes;
use cachekv::kv::KvStore;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

const KEYS: u64 = 10_000;
const BURST: u64 = 100_000;
const SLICE: Duration = Duration::from_millis(40);
const TURNS: usize = 15;

pub(crate) fn print() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "memory").skip(1);
    if let (Some(name), Some(keys), Some(count)) = (arguments.next(), arguments.next(), arguments.next()) {
        let count = count.parse().unwrap();
        return if keys == "u64" { hold::<u64>(&name, count) } else { hold::<Bytes>(&name, count) };
    }
    memory();
    stay_on(0);
    for keys in [1_000, 10] {
        contention::<u64>(keys);
        contention::<Bytes>(keys);
    }
    openings::<u64>();
    openings::<Bytes>();
    flushes::<u64>();
    flushes::<Bytes>();
}

/// The time this thread has been on a processor; the clock where the system does not say.
fn on_processor(since: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// Keeps the calling thread on one core, another for each number: the system puts two threads of which one wakes the other onto one
/// core of a virtual machine, and leaves them there.
#[cfg(target_os = "linux")]
fn stay_on(number: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    static ALL: LazyLock<CpuSet> = LazyLock::new(|| sched_getaffinity(None).unwrap()); // before the first stays on one
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| ALL.is_set(*core)).collect();
    let mut one = CpuSet::new();
    one.set(cores[number % cores.len()]);
    sched_setaffinity(None, &one).unwrap();
}
#[cfg(not(target_os = "linux"))]
fn stay_on(_: usize) {}

/// Calls a second, by the clock and by the processor.
type Rate = (f64, f64);

/// Calls of `act` from `start` to `stop`.
fn calls(act: &dyn Fn(&mut Shuffle), start: &Barrier, stop: &AtomicBool) -> Rate {
    let mut order = Shuffle(4);
    start.wait();
    let began = Instant::now();
    let used = on_processor(began);
    let mut calls = 0;
    while !stop.load(Ordering::Relaxed) {
        (0..8).for_each(|_| act(&mut order));
        calls += 8;
    }
    let used = on_processor(began).saturating_sub(used);
    (f64::from(calls) / began.elapsed().as_secs_f64(), f64::from(calls) / used.as_secs_f64())
}

/// Each of `acts` on a thread of its own, all at once for a slice.
fn slice<'a>(acts: &[&'a (dyn Fn(&mut Shuffle) + Sync)]) -> Vec<Rate> {
    let (start, stop) = (Barrier::new(acts.len() + 1), AtomicBool::new(false));
    let (start, stop) = (&start, &stop);
    thread::scope(|scope| {
        let run = |number: usize, act: &'a (dyn Fn(&mut Shuffle) + Sync)| {
            scope.spawn(move || {
                stay_on(number);
                calls(act, start, stop)
            })
        };
        let threads: Vec<_> = acts.iter().enumerate().map(|(number, &act)| run(number, act)).collect();
        start.wait();
        thread::sleep(SLICE);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The value in the middle.
fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// One thread writes at full speed while another walks `keys` keys again and again.
fn contention<K: Entry>(keys: u64) {
    println!("\nwriter beside iterators of {keys} keys, {KEYS} dirty keys, {}", K::NAME);
    println!(
        "{:9} {:>12} {:>12} {:>6} {:>6}   {:>12} {:>12} {:>6} {:>6}",
        "", "sets/s alone", "beside", "kept", "cpu", "walks/s alone", "beside", "kept", "cpu"
    );
    for name in NAMES {
        let subject = subject::<K>(name, &mixed(KEYS), &[]);
        let write = |order: &mut Shuffle| {
            let at = order.next(KEYS);
            subject.set(K::key(at), K::value(at));
        };
        let walk = |order: &mut Shuffle| subject.walk(&K::key(order.next(KEYS - keys)), keys as usize);
        let turns: Vec<_> =
            (0..TURNS).map(|_| (slice(&[&write])[0], slice(&[&walk])[0], slice(&[&write, &walk]))).collect();
        let of = |figure: &dyn Fn(&(Rate, Rate, Vec<Rate>)) -> f64| median(turns.iter().map(figure).collect());
        println!(
            "{name:9} {:12.0} {:12.0} {:6.2} {:6.2}   {:12.0} {:12.0} {:6.2} {:6.2}",
            of(&|turn| turn.0.0),
            of(&|turn| turn.2[0].0),
            of(&|turn| turn.2[0].0 / turn.0.0),
            of(&|turn| turn.2[0].1 / turn.0.1),
            of(&|turn| turn.1.0),
            of(&|turn| turn.2[1].0),
            of(&|turn| turn.2[1].0 / turn.1.0),
            of(&|turn| turn.2[1].1 / turn.1.1),
        );
    }
}

/// The parts of sorted times that a reader asks for.
fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_nanos() as f64 / 1e3;
    format!("{:8.1} {:8.1} {:8.1} {:9.1}", at(0.5), at(0.99), at(0.999), at(1.0))
}

fn timed(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

/// How long it takes to open an iterator and take 10 keys while another thread writes, in steady state and from the moment
/// at which 100,000 keys have been set at once.
fn openings<K: Entry>() {
    println!("\nopening and 10 keys beside a writer, {}: µs at 50 %, 99 %, 99.9 %, 100 %", K::NAME);
    for name in NAMES {
        let keys = if name == "cloned" { KEYS / 10 } else { KEYS };
        let steady = beside::<K>(&*subject::<K>(name, &mixed(keys), &[]), keys, 100_000, false);
        println!("{name:9} {keys:7} keys           {}", quantiles(steady));
        if name == "cloned" {
            continue; // a copy of the burst takes a tenth of a second
        }
        let subject = subject::<K>(name, &mixed(KEYS), &[]);
        let (mut all, mut first) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let after = beside::<K>(&*subject, BURST, 1_000, true);
            first.push(after[0]);
            all.extend(after);
        }
        println!("{name:9} after a burst          {}", quantiles(all));
        println!("{name:9} first after a burst    {}", quantiles(first));
    }
}

/// The times of `count` openings beside a thread that writes among `keys` keys without a pause, begun once it runs: or, if
/// `burst`, once it has written each key.
fn beside<K: Entry>(subject: &dyn Subject<K>, keys: u64, count: usize, burst: bool) -> Vec<Duration> {
    let (start, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            stay_on(1);
            if burst {
                mixed(keys).into_iter().for_each(|at| subject.set(K::key(at), K::value(at)));
            }
            start.store(true, Ordering::Release);
            let mut order = Shuffle(5);
            while !stop.load(Ordering::Relaxed) {
                let at = order.next(keys);
                subject.set(K::key(at), K::value(at));
            }
        });
        while !start.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        let mut order = Shuffle(6);
        let times =
            (0..count).map(|_| K::key(order.next(keys))).map(|from| timed(|| subject.walk(&from, 10))).collect();
        stop.store(true, Ordering::Relaxed);
        times
    })
}

/// What a reader notices of a flush of 100,000 keys.
fn flushes<K: Entry>() {
    println!("\npoint reads and openings while 100,000 keys are flushed, {}: µs at 50 %, 99 %, 99.9 %, 100 %", K::NAME);
    let (mut reads, mut walks, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
    let mut order = Shuffle(7);
    for _ in 0..5 {
        let store = store::<K>(BURST);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let flush = scope.spawn(|| {
                stay_on(1);
                let taken = timed(|| store.flush().unwrap());
                done.store(true, Ordering::Relaxed);
                taken
            });
            while !done.load(Ordering::Relaxed) {
                let key = K::key(order.next(BURST));
                reads.push(timed(|| drop(black_box(store.get(&key).unwrap()))));
                walks.push(timed(|| Subject::<K>::walk(&store, &key, 10)));
            }
            flushes.push(flush.join().unwrap());
        });
    }
    println!("get       {}   {} reads", quantiles(reads.clone()), reads.len());
    println!("open10    {}", quantiles(walks));
    println!("a flush took up to {:.1} ms", flushes.iter().max().unwrap().as_secs_f64() * 1e3);
}

/// Bytes of memory a dirty key, all told: key, value, what holds them. Each in a process of its own.
fn memory() {
    println!("\nbytes of memory for a key and its value (bytes: 24 and 64)");
    println!("{:9} {:>12} {:>12} {:>12} {:>12}", "", "u64 100,000", "1,000,000", "bytes 100,000", "1,000,000");
    for name in ["ours", "locked", "skiplist", "kept"] {
        let held = |keys: &str, count: u64| {
            let own = std::env::current_exe().unwrap();
            let run = Command::new(own).args(["figures", "memory", name, keys, &count.to_string()]).output().unwrap();
            String::from_utf8(run.stdout).unwrap().trim().parse::<f64>().unwrap_or(f64::NAN)
        };
        let row = ["u64", "bytes"].map(|keys| [100_000, 1_000_000].map(|count| held(keys, count)));
        let [[a, b], [c, d]] = row;
        println!("{name:9} {a:12.0} {b:12.0} {c:12.0} {d:12.0}");
    }
    println!("(kept: ours, with the snapshot of before every key was written again)");
}

fn resident() -> f64 {
    let told = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    told.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(f64::NAN) * 4096.0
}

/// Prints what `count` keys take in this process.
fn hold<K: Entry>(name: &str, count: u64) {
    let order = mixed(count);
    let before = resident();
    if name == "kept" {
        let store = store::<K>(count);
        let snapshot = store.snapshot();
        order.iter().for_each(|&at| store.set(K::key(at), K::value(at + 1)));
        println!("{}", (resident() - before) / count as f64);
        return drop((store, snapshot));
    }
    let subject = subject::<K>(name, &order, &[]);
    println!("{}", (resident() - before) / count as f64);
    drop(subject);
}
