//! What services leave behind after a thousand starts and stops, and after thousands of blocks in a row: nothing.
//!
//! What is looked at is a process of its own, in which nothing else runs: this test binary, asked for one of its ignored tests.

use super::processes::{MACHINE, cluster, is_over, right, this_binary, up};
use super::rig::{LONG, link, shard_config, within};
use cachekv::remote::{GrpcListener, ListenConfig, Shard};
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Threads and file descriptors of this process.
fn own_size() -> (usize, usize) {
    let count = |what: &str| fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    (count("task"), count("fd"))
}

/// No test, but what the next one looks at: services that start and stop, with a block in between now and then.
#[test]
#[ignore = "a process of the other tests"]
fn starting_and_stopping_process() {
    let times = std::env::var("CACHEKV_TEST_TIMES").map_or(1000, |times| times.parse().unwrap());
    let mut size = None;
    for time in 0..times {
        let listener = GrpcListener::new("127.0.0.1:0", ListenConfig::default()).unwrap();
        let address = listener.address().to_string();
        let shard = Shard::start(MACHINE, Arc::new(listener), shard_config(link(LONG), 1)).unwrap();
        let mut cluster = cluster(&[address], LONG);
        let handle = cluster.handle();
        // At any moment: before the first packet, in a conversation, after a block; by either side first, or by being dropped.
        match time % 5 {
            0 => {}
            1 => up(&cluster, 1),
            _ => {
                up(&cluster, 1);
                assert!(is_over(&right(&mut cluster, 4), 1));
            }
        }
        match time % 3 {
            0 => assert_eq!(shard.shutdown(within(LONG)), Ok(())),
            1 => assert_eq!(handle.shutdown(within(LONG)), Ok(())),
            _ => thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| assert_eq!(shard.shutdown(within(LONG)), Ok(())));
                    scope.spawn(|| assert_eq!(handle.shutdown(within(LONG)), Ok(())));
                }
            }),
        }
        drop((shard, cluster));
        if time == 20 {
            size = Some(own_size());
        }
    }
    // Sockets that were closed are gone, threads that were joined are; what lingers is the system's, for a moment.
    let (end, before) = (within(LONG), size.unwrap());
    while own_size().0 > before.0 || own_size().1 > before.1 {
        assert!(Instant::now() < end, "{:?} threads and descriptors, there were {before:?}", own_size());
        thread::sleep(Duration::from_millis(10));
    }
    println!("\n{times} times: {:?} threads and descriptors, {before:?} after the first 20", own_size());
}

/// `CACHEKV_TEST_TIMES=1000` starts and stops so often.
#[test]
fn a_thousand_starts_and_stops_leave_nothing() {
    let times = std::env::var("CACHEKV_TEST_TIMES").unwrap_or_else(|_| "200".into());
    let done =
        this_binary("endurance::starting_and_stopping_process").env("CACHEKV_TEST_TIMES", times).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !said.contains("panicked"), "{said}");
    assert!(said.contains("threads and descriptors"), "it was not run: {said}");
    said.lines().filter(|line| line.contains("descriptors")).for_each(|line| println!("{line}"));
}

/// Resident memory of this process, in KiB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// How much more memory there may be than after the first tenth of the blocks: that of an allocator's arenas that were filled
/// in another order. What were kept of each block, be it a hundred bytes, would be more in a documented run.
const MORE_KIB: u64 = 8 << 10;

/// No test, but what the next one looks at: blocks in a row over two shards.
#[test]
#[ignore = "a process of the other tests"]
fn blocks_in_a_row_process() {
    let blocks = std::env::var("CACHEKV_TEST_BLOCKS").map_or(10_000, |blocks| blocks.parse().unwrap());
    let start = || {
        let listener = GrpcListener::new("127.0.0.1:0", ListenConfig::default()).unwrap();
        let address = listener.address().to_string();
        (Shard::start(MACHINE, Arc::new(listener), shard_config(link(LONG), 1)).unwrap(), address)
    };
    let ((one, first), (two, second)) = (start(), start());
    let mut cluster = cluster(&[first, second], LONG);
    up(&cluster, 2);
    let mut before = None;
    for block in 0..blocks {
        assert!(is_over(&right(&mut cluster, 30), 2), "block {block}");
        if block == blocks / 10 {
            before = Some((own_size(), memory()));
        }
    }
    let ((size, kib), before) = ((own_size(), memory()), before.unwrap());
    println!("\n{blocks} blocks: {size:?} threads and descriptors, {kib} KiB; after a tenth of them {before:?}");
    assert_eq!(size, before.0);
    assert!(kib <= before.1 + MORE_KIB, "{kib} KiB, there were {}", before.1);
    let end = within(LONG);
    while one.blocks() + two.blocks() != 0 {
        assert!(Instant::now() < end, "a block is kept"); // what it came to is told before it is let go of
        thread::yield_now();
    }
}

/// `CACHEKV_TEST_BLOCKS=10000` executes so many.
#[test]
fn ten_thousand_blocks_leave_nothing() {
    let blocks = std::env::var("CACHEKV_TEST_BLOCKS").unwrap_or_else(|_| "300".into());
    let done = this_binary("endurance::blocks_in_a_row_process").env("CACHEKV_TEST_BLOCKS", blocks).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !said.contains("panicked"), "{said}");
    assert!(said.contains("threads and descriptors"), "it was not run: {said}");
    said.lines().filter(|line| line.contains("descriptors")).for_each(|line| println!("{line}"));
}
