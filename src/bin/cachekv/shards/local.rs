//! Shards of this process's own: processes that it starts, and that end with it.

use crate::failure::Failure;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a shard says on its first line, before the address.
pub(super) const LISTENING: &str = "listening on ";

/// A running shard. It is asked to end when this is dropped, and made to if it does not.
#[derive(Debug)]
pub(super) struct Local {
    child: Child,
    pub(super) address: String,
}

/// How long a shard may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

impl Local {
    /// Starts a shard on a free port of the loopback interface, with `more` arguments.
    ///
    /// # Errors
    /// If it does not start; it says why itself.
    pub(super) fn start(threads: usize, more: &[OsString]) -> Result<Self, Failure> {
        let failed = |why: &str| Failure::System(format!("cannot start a shard: {why}"));
        let program = std::env::current_exe().map_err(|error| failed(&error.to_string()))?;
        let mut command = Command::new(program);
        command.args([
            "shard",
            "--listen",
            "127.0.0.1:0",
            "--coordinator",
            "127.0.0.1",
            "--end-with-stdin",
            "--threads",
        ]);
        command.arg(threads.to_string()).args(more);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut shard = Self { child: child.map_err(|error| failed(&error.to_string()))?, address: String::new() };
        let mut line = String::new();
        if let Some(said) = shard.child.stdout.take() {
            BufReader::new(said).read_line(&mut line).map_err(|error| failed(&error.to_string()))?;
        }
        let address = line.trim_end().strip_prefix(LISTENING).and_then(|rest| rest.split(' ').next());
        shard.address = address.ok_or_else(|| failed("it does not say where it listens"))?.to_owned();
        Ok(shard)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        drop(self.child.stdin.take()); // which is what it waits for
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                drop(self.child.kill());
                drop(self.child.wait());
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}
