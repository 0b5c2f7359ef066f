//! A recorded block: its figures, its timeline, and its keys by name.

use super::blocks::causes;
use super::number::{grouped, grouped_decimal, milliseconds};
use crate::executor::{Activity, BlockStats, Event, Reason, Timeline};
use crate::kv::Key;
use std::collections::BTreeMap;

/// A block whose timeline was [recorded](crate::executor::Options::record), as a [page](Self::page) to look at or as a
/// [trace](Self::trace) for the tools of others.
///
/// ```
/// use cachekv::executor::{BlockStats, Timeline};
/// use cachekv::report::BlockPicture;
/// let mut stats = BlockStats::<u64>::default();
/// assert!(BlockPicture::new("block 7", &stats, u64::to_string).is_none(), "it was not recorded");
/// stats.timeline = Some(Timeline::default());
/// let picture = BlockPicture::new("block 7", &stats, u64::to_string).unwrap();
/// assert!(picture.page().starts_with("<!doctype html>"));
/// assert!(picture.trace().contains("block 7"));
/// ```
#[derive(Debug)]
pub struct BlockPicture<'s, K> {
    pub(super) title: String,
    pub(super) stats: &'s BlockStats<K>,
    pub(super) timeline: &'s Timeline<K>,
    /// Each key that is mentioned, and which of the names it has.
    pub(super) keys: BTreeMap<&'s K, usize>,
    pub(super) names: Vec<String>,
}

impl<'s, K: Key> BlockPicture<'s, K> {
    /// The block that took `stats`, if its timeline was recorded. `title` says which it is, `name_key` how a key is shown:
    /// any text will do.
    pub fn new(title: impl Into<String>, stats: &'s BlockStats<K>, name_key: impl Fn(&K) -> String) -> Option<Self> {
        let timeline = stats.timeline.as_ref()?;
        let (mut keys, mut names) = (BTreeMap::new(), Vec::new());
        for key in timeline.workers.iter().flatten().filter_map(conflicting) {
            keys.entry(key).or_insert_with(|| {
                names.push(name_key(key));
                names.len() - 1
            });
        }
        Some(Self { title: title.into(), stats, timeline, keys, names })
    }

    /// The key's place among the names.
    pub(super) fn place(&self, key: &K) -> usize {
        self.keys.get(key).copied().unwrap_or_default()
    }

    /// The key in words.
    pub(super) fn name(&self, key: &K) -> &str {
        self.names.get(self.place(key)).map_or("", String::as_str)
    }

    /// What the block took, in words.
    pub(super) fn figures(&self) -> Vec<(&'static str, String)> {
        let stats = self.stats;
        let mut figures = vec![
            ("transactions", grouped(stats.transactions)),
            ("executions", grouped(stats.executions)),
            ("of these at the frontier", grouped(stats.frontier_executions)),
            ("validations", grouped(stats.validations)),
            ("came to nothing", grouped(stats.aborts.total())),
        ];
        let occurred = causes(&stats.aborts).into_iter().filter(|(_, times)| *times > 0);
        figures.extend(occurred.map(|(cause, times)| (cause, grouped(times))));
        let seconds = stats.wall.as_secs_f64();
        let rate = if seconds > 0.0 { stats.transactions as f64 / seconds } else { f64::NAN };
        figures.push(("workers", grouped(self.timeline.workers.len() as u64)));
        figures.push(("took (ms)", milliseconds(stats.wall)));
        figures.push(("transactions a second", grouped_decimal(rate, 0)));
        figures
    }
}

/// The key over which something was aborted.
fn conflicting<K>(event: &Event<K>) -> Option<&K> {
    match &event.activity {
        Activity::Abort { reason: Reason::Read(key) | Reason::Range(key) | Reason::Refused(key), .. } => Some(key),
        _ => None,
    }
}
