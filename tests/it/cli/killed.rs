//! Killed in the middle, at whatever moment: the store holds whole blocks and nothing else, and goes on.

use super::twin::Twin;
use super::{command, good, height, state};
use std::path::Path;
use std::time::Duration;

/// Starts a run that would not end, and kills it after `delay`.
fn kill_after(dir: &Path, args: &str, delay: Duration) {
    let mut child = command(dir, &format!("{args} --blocks 1000000000")).spawn().unwrap();
    std::thread::sleep(delay); // decides where it is cut, and not what must hold then
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (None, ""), "it ended by itself");
}

/// Delays that grow until `enough` says so, `least` of them at least.
fn delays(least: u32, step: Duration) -> impl Iterator<Item = (bool, Duration)> {
    (0..).map(move |kill| (kill + 1 >= least, step * (kill * 7 % 12 + kill / 12)))
}

#[test]
fn transfers_hold_what_their_twin_does_after_every_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it");
    let mut twin = Twin::new(3, 40);
    let mut last = 0;
    good(dir.path(), "--db it --blocks 0 --accounts 40 --seed 3");
    for (enough, delay) in delays(16, Duration::from_millis(9)) {
        kill_after(dir.path(), "--db it --txns 150 --work 1 --rest 1", delay);
        let found = state(&path);
        let height = height(&found);
        assert!(height >= last, "{height} after {last}");
        twin.advance(height, 150);
        assert_eq!(found, twin.state, "killed after {delay:?}, at height {height}");
        last = height;
        if enough && height >= 10 {
            break;
        }
    }
    good(dir.path(), "--db it --txns 150 --work 0 --blocks 2");
    twin.advance(last + 2, 150);
    assert_eq!(state(&path), twin.state);
}

#[test]
fn the_mixture_holds_what_an_undisturbed_run_does_after_every_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it");
    let args = "--workload mixed --accounts 300 --txns 200 --work 1";
    good(dir.path(), &format!("{args} --db it --blocks 0"));
    let mut last = 0;
    for (enough, delay) in delays(12, Duration::from_millis(11)) {
        kill_after(dir.path(), &format!("{args} --db it --threads 4"), delay);
        let found = state(&path);
        let height = height(&found);
        good(dir.path(), &format!("{args} --db undisturbed --threads 1 --readers 0 --blocks {}", height - last));
        assert!(found == state(&dir.path().join("undisturbed")), "killed after {delay:?}, at height {height}");
        last = height;
        if enough && height >= 10 {
            break;
        }
    }
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
