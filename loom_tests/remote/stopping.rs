//! Stopping a shard: the runner, wherever it stands, leaves, though two stop it at once.

use super::registry::{Blocks, block};
use crate::loom_tests::explore_within;
use crate::remote::live::{LiveBlock, Registry};
use crate::remote::mailbox::Mailbox;
use crate::sync::Arc;
use bytes::Bytes;
use loom::thread;

type Jobs = Arc<Mailbox<Arc<LiveBlock<u8, u8>>>>;

/// What the runner does, a read being all there is to a block.
fn run(jobs: &Jobs, registry: &Blocks) {
    while let Some(job) = jobs.take() {
        assert!(job.view.get(&Bytes::from_static(b"key")).is_err());
        registry.remove(&job.key);
    }
}

/// In the order of `Shard`'s stop.
fn stop(jobs: &Jobs, registry: &Blocks) {
    registry.close();
    jobs.close();
}

/// The runner waits for a job, for a read, or stands between: it leaves.
#[test]
fn the_runner_leaves_wherever_it_stands() {
    explore_within(2, || {
        let (jobs, registry): (Jobs, Blocks) = (Arc::new(Mailbox::new(8)), Arc::new(Registry::new()));
        let runner = {
            let (jobs, registry) = (Arc::clone(&jobs), Arc::clone(&registry));
            thread::spawn(move || run(&jobs, &registry))
        };
        let stopper = {
            let (jobs, registry) = (Arc::clone(&jobs), Arc::clone(&registry));
            thread::spawn(move || stop(&jobs, &registry))
        };
        let block = block(1);
        if registry.take(&block, 8).is_ok() {
            jobs.offer(block);
        }
        stop(&jobs, &registry);
        stopper.join().unwrap();
        runner.join().unwrap();
        assert_eq!(registry.len(), 0);
    });
}
