//! A full disk: the run ends in one line of words and with the status that says so, the store holds whole blocks, and goes
//! on once there is room.
//!
//! There are two ways to have no room. Any process may be forbidden to make files longer than so much; then the file cannot
//! grow. And a small file system can be full; then the file grows, and what is written has no place. The latter has to
//! be mounted: where that is not allowed, the test says so and checks nothing.

use super::twin::Twin;
use super::{State, command, good, height, state};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// As `command`, run by the shell after `before`, whose first argument is `room`.
fn in_shell(mut shell: Command, before: &str, room: u32, dir: &Path, args: &str) -> Output {
    let program = command(dir, args);
    shell.current_dir(dir).args(["-c", before, &room.to_string()]).arg(program.get_program()).args(program.get_args());
    shell.output().unwrap()
}

/// What was said is one line that names the store and says what to do.
fn assert_refused(said: &[u8]) {
    let said = String::from_utf8_lossy(said);
    assert!(said.starts_with("cachekv: cannot ") && said.lines().count() == 1, "{said}");
    assert!(said.contains("store it: ") && !said.contains("panicked"), "{said}");
    assert!(said.contains("see to the disk") || said.contains("name a file"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_grow() {
    // In units of 512 bytes. What the signal would do is not wanted: the write shall fail.
    const LIMIT: &str = r#"trap '' XFSZ; ulimit -f "$0"; exec "$@""#;
    const NEW: u32 = 2100; // a new store fits, and little more
    let args = "--db it --txns 300 --work 0 --blocks 20";
    let mut heights = Vec::new();
    let none = [(1, 50), (600, 50), (2000, 50)];
    // How many blocks are written at once is the scheduler's: one in four of these ends between blocks, and some do.
    let some = (6000..13_000).step_by(500).cycle().map(|n| (NEW, n));
    for (tried, (room, accounts)) in none.into_iter().chain(some).enumerate() {
        if tried >= 17 && heights.iter().any(|height| *height > 0) {
            break;
        }
        assert!(tried < 200, "it never came to an end between blocks: {heights:?}");
        let dir = tempfile::tempdir().unwrap();
        let limited = format!("{args} --accounts {accounts}");
        let output = in_shell(Command::new("sh"), LIMIT, room, dir.path(), &limited);
        let mut twin = Twin::new(1, accounts);
        let mut from = None;
        if output.status.code() == Some(0) {
            assert_eq!(room, NEW, "there is no room for this");
        } else {
            assert_eq!(output.status.code(), Some(3), "{output:?}");
            assert_refused(&output.stderr);
            if room < NEW {
                assert_eq!(
                    fs::read_dir(dir.path()).unwrap().count(),
                    0,
                    "nothing is left of a store that was not made"
                );
                continue;
            }
            // It may be that not even the first state was written; then there is a store with nothing in it.
            let found = state(&dir.path().join("it"));
            if !found.is_empty() {
                heights.push(height(&found));
                from = Some(height(&found));
                twin.advance(height(&found), 300);
                assert_eq!(found, twin.state, "{accounts} accounts");
            }
        }
        good(dir.path(), &format!("--db it --txns 300 --work 0 --blocks 2 --accounts {accounts}"));
        let found = state(&dir.path().join("it"));
        if let Some(from) = from {
            assert_eq!(height(&found), from + 2);
        }
        twin.advance(height(&found), 300);
        assert_eq!(found, twin.state, "{accounts} accounts, with room");
    }
    println!("heights at which there was no more room: {heights:?}");
}

/// Mounts a file system of `room` KiB, runs the program on it, looks whether it opens there, and copies what it left.
const MOUNT: &str = r#"
mkdir disk && mount -t tmpfs -o "size=$0k" none disk || exit 77
cd disk
"$@" >../out 2>../said; echo $? >../status
"$1" run --db it --blocks 0 >../out 2>../said_again; echo $? >../status_again
test ! -e it || cp it ../it
"#;

/// Runs `args` on a file system of `room` KiB; `None` where nobody may mount one.
fn on_small_disk(room: u32, dir: &Path, args: &str) -> Option<()> {
    // As who may do all within it, or as who may do all anyway.
    ["-rm", "-m"].into_iter().find_map(|how| {
        let mut unshare = Command::new("unshare");
        unshare.args([how, "sh"]);
        let output = unshare.current_dir(dir).output();
        output.ok().filter(|output| output.status.success())?;
        let mut unshare = Command::new("unshare");
        unshare.args([how, "sh"]);
        in_shell(unshare, MOUNT, room, dir, args).status.success().then_some(())
    })
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room() {
    let args = "--db it --workload mixed --accounts 1000 --txns 300 --work 0 --blocks 30";
    let mut left: Vec<(u64, State)> = Vec::new();
    let mut refused = 0;
    for room in (4..300).step_by(20) {
        let dir = tempfile::tempdir().unwrap();
        if on_small_disk(room, dir.path(), args).is_none() {
            eprintln!("SKIPPED: no file system can be mounted here, so that a full disk was not tested");
            return;
        }
        let read = |name: &str| fs::read(dir.path().join(name)).unwrap_or_default();
        let status = |name: &str| String::from_utf8(read(name)).unwrap().trim().parse::<i32>().unwrap();
        match status("status") {
            0 => assert!(read("said").is_empty()),
            3 => assert_refused(&read("said")),
            status => panic!("{status} with {room} KiB: {}", String::from_utf8_lossy(&read("said"))),
        }
        refused += u32::from(status("status") == 3);
        let path = dir.path().join("it");
        let found = if path.exists() { state(&path) } else { State::new() };
        // It opens where it is, full as that is, unless it has still to be begun.
        match status("status_again") {
            0 => {}
            3 if found.is_empty() => assert_refused(&read("said_again")),
            status => panic!("{status} with {room} KiB: {}", String::from_utf8_lossy(&read("said_again"))),
        }
        if !found.is_empty() {
            left.push((height(&found), found));
        }
    }
    let heights: Vec<_> = left.iter().map(|(height, _)| *height).collect();
    println!("{refused} runs ended for want of room; heights left: {heights:?}");
    assert!(refused >= 3 && heights.iter().any(|height| (1..30).contains(height)), "{refused} refused, {heights:?}");
    let dir = tempfile::tempdir().unwrap();
    let undisturbed = "--db it --workload mixed --accounts 1000 --txns 300 --work 0 --threads 1 --readers 0";
    left.sort_by_key(|(height, _)| *height);
    let mut last = 0;
    for (height, found) in left {
        good(dir.path(), &format!("{undisturbed} --blocks {}", height - last));
        assert!(found == state(&dir.path().join("it")), "height {height}");
        last = height;
    }
}
