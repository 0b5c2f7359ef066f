//! Killed in the middle, at random moments: the store holds whole blocks and nothing else, and goes on.
//!
//! Each of the first two tests kills some twenty times; `CACHEKV_KILLS=200 cargo test --test it killed -- --nocapture` does so
//! 200 times. The moments are drawn from a seed that is printed; `CACHEKV_SEED` gives another.

use super::twin::{Twin, finalize};
use super::{command, good, height, state};
use cachekv::kv::RedbStore;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Starts a run that would not end, and kills it after `delay`.
fn kill_after(dir: &Path, args: &str, delay: Duration) {
    let mut child = command(dir, &format!("{args} --blocks 1000000000")).spawn().unwrap();
    std::thread::sleep(delay); // decides where it is cut, and not what must hold then
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (None, ""), "it ended by itself");
}

/// The number in an environment variable.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// The kills of one test: when they come, and what was found after them.
struct Kills {
    wanted: u64,
    seed: u64,
    done: u64,
    /// The heights found, and how often a run had got nowhere before it was killed.
    heights: BTreeSet<u64>,
    in_vain: u64,
}

impl Kills {
    fn new() -> Self {
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let (wanted, seed) = (number("CACHEKV_KILLS").unwrap_or(20), number("CACHEKV_SEED").unwrap_or_else(clock));
        println!("{wanted} kills, CACHEKV_SEED={seed}");
        Self { wanted, seed, done: 0, heights: BTreeSet::new(), in_vain: 0 }
    }

    /// When to kill next, and on how many threads to run; `None` once there were enough, and blocks in between.
    ///
    /// A machine so busy that a run gets nowhere gives the next one more time.
    fn next(&mut self) -> Option<(Duration, u64)> {
        if self.done >= self.wanted && self.heights.last().is_some_and(|height| *height >= 10) {
            return None;
        }
        self.done += 1;
        let drawn = finalize(self.seed.wrapping_add(self.done.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let longest = 100_000 + 20_000 * self.in_vain.saturating_sub(self.done / 2);
        Some((Duration::from_micros(drawn % longest), 1 + (drawn >> 32) % 4))
    }

    /// The height found after the last kill; returns the one before.
    fn found(&mut self, height: u64) -> u64 {
        let last = self.heights.last().copied().unwrap_or(0);
        assert!(height >= last, "{height} after {last}: a durable block is lost");
        self.in_vain += u64::from(height == last);
        self.heights.insert(height);
        last
    }

    fn tell(&self, what: &str) {
        let (done, different, last) = (self.done, self.heights.len(), self.heights.last().unwrap());
        println!(
            "{what}: {done} kills, {different} different prefixes, the last of {last} blocks, {} in vain",
            self.in_vain
        );
    }
}

#[test]
fn transfers_hold_what_their_twin_does_after_every_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it");
    let mut twin = Twin::new(3, 40);
    let mut kills = Kills::new();
    good(dir.path(), "--db it --blocks 0 --accounts 40 --seed 3");
    while let Some((delay, threads)) = kills.next() {
        kill_after(dir.path(), &format!("--db it --txns 150 --work 1 --rest 1 --threads {threads}"), delay);
        RedbStore::verify(&path).unwrap(); // as it was left, before it is opened and repaired
        let found = state(&path);
        let height = height(&found);
        kills.found(height);
        twin.advance(height, 150);
        assert_eq!(found, twin.state, "killed after {delay:?}, at height {height}");
    }
    kills.tell("transfers");
    let last = *kills.heights.last().unwrap();
    good(dir.path(), "--db it --txns 150 --work 0 --blocks 2");
    twin.advance(last + 2, 150);
    assert_eq!(state(&path), twin.state);
}

#[test]
fn the_mixture_holds_what_an_undisturbed_run_does_after_every_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it");
    let args = "--workload mixed --accounts 300 --txns 200 --work 1";
    let mut kills = Kills::new();
    good(dir.path(), &format!("{args} --db it --blocks 0"));
    while let Some((delay, threads)) = kills.next() {
        kill_after(dir.path(), &format!("{args} --db it --threads {threads}"), delay);
        RedbStore::verify(&path).unwrap();
        let found = state(&path);
        let height = height(&found);
        let last = kills.found(height);
        good(dir.path(), &format!("{args} --db undisturbed --threads 1 --readers 0 --blocks {}", height - last));
        assert!(found == state(&dir.path().join("undisturbed")), "killed after {delay:?}, at height {height}");
    }
    kills.tell("mixture");
}

/// Also while the store is being made.
#[test]
fn a_run_that_was_killed_at_its_start_can_be_started_again() {
    for kill in 0..24 {
        let dir = tempfile::tempdir().unwrap();
        kill_after(dir.path(), "--db it --accounts 500 --txns 50 --work 0", Duration::from_millis(kill * 2));
        good(dir.path(), "--db it --txns 50 --work 0 --blocks 1");
        let found = state(&dir.path().join("it"));
        let accounts = found.len() as u64 - 1; // a run that did not get so far has left nothing, not even the number
        let mut twin = Twin::new(1, accounts);
        twin.advance(height(&found), 50);
        assert_eq!(found, twin.state);
    }
}
