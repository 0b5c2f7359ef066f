//! What the process has in use: memory, threads, open files; and what it may.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

/// What is in use at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is resident, and the most that ever was, in KiB.
    pub resident: u64,
    pub peak: u64,
    pub threads: u64,
    pub files: u64,
}

impl Usage {
    /// As the system says; `None` where there is no `/proc`.
    pub fn now() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let files = fs::read_dir("/proc/self/fd").ok()?.count() as u64 - 1; // but for the directory itself
        Some(Self { resident: number("VmRSS")?, peak: number("VmHWM")?, threads: number("Threads")?, files })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MiB (peak {}), {} threads, {} files",
            self.resident >> 10,
            self.peak >> 10,
            self.threads,
            self.files
        )
    }
}

/// How many rests are warm-up: what the process has in use grows to its size.
const WARM_UP: usize = 5;
/// How long what was let go may take to be gone: threads of a pool end by themselves.
const SETTLE: Duration = Duration::from_secs(10);

/// The rule of the soak: at every rest, when no store is open and no executor alive,
///
/// * as many threads and open files as at the beginning, within ten seconds;
/// * once warm, memory no more than a half and 64 MiB above the most of the warm-up;
///
/// and never more than 2 GiB.
pub struct Watch {
    begun: Option<Usage>,
    rests: usize,
    warm: u64,
}

impl Watch {
    pub fn new() -> Self {
        Self { begun: Usage::now(), rests: 0, warm: 0 }
    }

    /// Whether anything can be seen at all.
    pub fn sees(&self) -> bool {
        self.begun.is_some()
    }

    /// The most memory that may be resident at a rest, in KiB.
    fn bound(&self) -> u64 {
        self.warm + self.warm / 2 + (64 << 10)
    }

    /// Looks, at a rest.
    ///
    /// # Errors
    /// If more is in use than may be.
    pub fn rest(&mut self) -> Result<(), String> {
        let Some(begun) = self.begun else { return Ok(()) };
        let since = Instant::now();
        let now = loop {
            let Some(now) = Usage::now() else { return Err("/proc/self can no longer be read".into()) };
            if (now.threads, now.files) == (begun.threads, begun.files) {
                break now;
            }
            if since.elapsed() > SETTLE {
                return Err(format!("threads or files are left behind: at first {begun}; now {now}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        self.rests += 1;
        if self.rests <= WARM_UP {
            self.warm = self.warm.max(now.resident);
        } else if now.resident > self.bound() {
            return Err(format!("memory grows: {now}, more than {} MiB at a rest", self.bound() >> 10));
        }
        if now.peak > 2 << 20 {
            return Err(format!("it needs too much memory: {now}"));
        }
        Ok(())
    }
}
