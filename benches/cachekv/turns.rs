//! One thread, every operation, all subjects in turns: nanoseconds at the lower quartile of many short batches, and how many
//! times as long as `locked` ours takes. A batch is shorter than the time a system gives a thread, so on a machine with other
//! work the quartile stays what it is on an idle one, but for what the others put into its caches.

use crate::subject::{Entry, NAMES, Shuffle, Subject, mixed, pass, subject};
use std::time::Instant;

/// Keys, with values where they are set.
type Input<K> = Vec<(K, Option<<K as Entry>::Value>)>;
type Prepare<'r, K> = &'r dyn Fn(&dyn Subject<K>, &mut Shuffle) -> Input<K>;
type Batch<'r, K> = &'r dyn Fn(&dyn Subject<K>, &mut Input<K>);

struct Row<'r, K: Entry> {
    name: &'r str,
    /// The keys written, and those of the parent.
    above: Vec<u64>,
    below: &'r [u64],
    batches: usize,
    /// Operations of a batch.
    of: u64,
    /// Not timed.
    prepare: Prepare<'r, K>,
    batch: Batch<'r, K>,
    /// Whether a copy for every iterator is worth waiting for.
    copied: bool,
}

fn quartile(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 4).copied().unwrap_or(f64::NAN)
}

/// What the clock itself takes.
fn clock() -> f64 {
    quartile((0..1_000).map(|_| Instant::now().elapsed().as_nanos() as f64).collect())
}

impl<K: Entry> Row<'_, K> {
    fn print(&self) {
        let names = NAMES.into_iter().filter(|name| self.copied || *name != "cloned");
        let subjects: Vec<_> = names.map(|name| (name, subject::<K>(name, &self.above, self.below))).collect();
        let mut times = vec![Vec::new(); subjects.len()];
        let (mut order, clock) = (Shuffle(3), clock());
        for _ in 0..self.batches {
            for (times, (_, subject)) in times.iter_mut().zip(&subjects) {
                let mut input = (self.prepare)(&**subject, &mut order);
                let start = Instant::now();
                (self.batch)(&**subject, &mut input);
                let taken = start.elapsed().as_nanos() as f64;
                times.push((taken - clock).max(0.0) / self.of as f64);
            }
        }
        let of = |name: &str| {
            let found = subjects.iter().position(|(known, _)| *known == name);
            found.map_or(f64::NAN, |at| quartile(times[at].clone()))
        };
        let [ours, cloned, locked, skiplist] = NAMES.map(of);
        let (name, keys, ratio) = (format!("{}/{}", self.name, K::NAME), self.above.len(), ours / locked);
        println!("{name:28} {keys:8} {ours:10.1} {cloned:12.1} {locked:10.1} {skiplist:10.1} {ratio:8.2}");
    }
}

fn set<K: Entry>(subject: &dyn Subject<K>, input: &mut Input<K>) {
    for (key, value) in input.drain(..) {
        value.into_iter().for_each(|value| subject.set(key.clone(), value));
    }
}

fn open10<K: Entry>(subject: &dyn Subject<K>, input: &mut Input<K>) {
    input.iter().for_each(|(from, _)| subject.walk(from, 10));
}

fn get<K: Entry>(subject: &dyn Subject<K>, input: &mut Input<K>) {
    input.iter().for_each(|(key, _)| pass(subject.get(key)));
}

/// The rows of so many dirty keys.
fn operations<K: Entry>(keys: u64) {
    let few = |count: u64| {
        move |_: &dyn Subject<K>, order: &mut Shuffle| -> Input<K> {
            (0..count).map(|_| order.next(keys)).map(|at| (K::key(at), Some(K::value(at)))).collect()
        }
    };
    let row = |name: &str, batches, of, prepare: Prepare<'_, K>, batch: Batch<'_, K>| {
        let (above, copied) = (mixed(keys), keys <= 1_000 || !name.starts_with("open"));
        Row { name, above, below: &[], batches, of, prepare, batch, copied }.print();
    };
    row("open10/unchanged", 400, 20, &few(20), &open10);
    let written = |subject: &dyn Subject<K>, order: &mut Shuffle| {
        set(subject, &mut few(1)(subject, order));
        few(1)(subject, order)
    };
    row("open10/after_write", 4_000, 1, &written, &open10);
    row("set", 400, 100, &few(100), &set);
    row("get", 400, 100, &few(100), &get);
    let published = |subject: &dyn Subject<K>, order: &mut Shuffle| {
        if keys <= 1_000 {
            subject.walk(&K::key(0), 1); // a second one publishes
            subject.walk(&K::key(0), 1);
        }
        few(100)(subject, order)
    };
    row("get, published", 400, 100, &published, &get);
}

/// All keys are set, beside a snapshot of before, and then an iterator is opened: what a burst costs a write, all told.
fn burst<K: Entry>(keys: u64) {
    let prepare = |subject: &dyn Subject<K>, _: &mut Shuffle| {
        subject.walk(&K::key(0), 1);
        mixed(keys).into_iter().map(|at| (K::key(at), Some(K::value(at)))).collect()
    };
    let batch = |subject: &dyn Subject<K>, input: &mut Input<K>| {
        set(subject, input);
        subject.walk(&K::key(0), 10);
    };
    let (name, above, batches) = ("burst, a key", mixed(keys), if keys > 10_000 { 6 } else { 30 });
    Row { name, above, below: &[], batches, of: keys, prepare: &prepare, batch: &batch, copied: true }.print();
}

fn drains<K: Entry>(keys: u64) {
    let (even, odd): (Vec<_>, Vec<_>) = mixed(keys).into_iter().partition(|at| at % 2 == 0);
    for (parent, above, below) in [("empty", mixed(keys), vec![]), ("half", odd, even)] {
        let prepare = |_: &dyn Subject<K>, _: &mut Shuffle| Vec::new();
        let forwards = |subject: &dyn Subject<K>, _: &mut Input<K>| subject.walk(&K::key(0), usize::MAX);
        let backwards = |subject: &dyn Subject<K>, _: &mut Input<K>| subject.walk_back();
        let ways: [(&str, Batch<'_, K>); 2] = [("forwards", &forwards), ("backwards", &backwards)];
        for (way, batch) in ways {
            let (name, above) = (&*format!("drain/{parent}/{way}"), above.clone());
            Row { name, above, below: &below, batches: 60, of: keys, prepare: &prepare, batch, copied: true }.print();
        }
    }
}

/// Up to so many keys.
pub(crate) fn print(most: u64) {
    fn table<K: Entry>(most: u64) {
        let sizes = [100, 1_000, 10_000, 100_000, 1_000_000];
        sizes.into_iter().filter(|keys| *keys <= most).for_each(operations::<K>);
        sizes[..4].iter().filter(|keys| **keys <= most).for_each(|keys| burst::<K>(*keys));
        drains::<K>(10_000);
    }
    println!("ns an operation at the lower quartile{:28}ours       cloned     locked   skiplist  /locked", "");
    table::<u64>(most);
    table::<bytes::Bytes>(most);
    table::<[u8; 24]>(most);
}
