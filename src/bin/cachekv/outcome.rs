//! What came of a run: as text, and as one JSON document.

use crate::args::Run;
use crate::chain::Chain;
use crate::failure::Failure;
use crate::shards::fleet::Tally;
use crate::workload::name_key;
use bytes::Bytes;
use cachekv::executor::{Aborts, BlockStats};
use cachekv::report::{BlockTable, Summary, grouped, grouped_decimal};
use cachekv::restore::Hash;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Figures of consecutive blocks, some of them to a row.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The height before the first block.
    from: u64,
    /// Blocks to a row.
    width: u64,
    rows: Vec<Summary<Bytes>>,
    /// The state root after each block, where there is a tree.
    roots: Vec<(u64, Hash)>,
}

/// How many of the most contended keys are told.
const KEYS: usize = 10;

/// About how many rows there are at most: what a person still reads.
const ROWS: u64 = 10;

impl Rows {
    /// For `blocks` blocks after the height `from`.
    pub(crate) fn new(from: u64, blocks: u64) -> Self {
        Self { from, width: blocks.div_ceil(ROWS).max(1), rows: Vec::new(), roots: Vec::new() }
    }

    /// Notes the state root after the block of this height.
    pub(crate) fn rooted(&mut self, height: u64, root: Option<Hash>) {
        self.roots.extend(root.map(|root| (height, root)));
    }

    /// Notes the execution of the block at `place` of the run, counted from 0.
    pub(crate) fn executed(&mut self, place: u64, stats: &BlockStats<Bytes>, sequential: Duration) {
        if place.is_multiple_of(self.width) {
            self.rows.push(Summary::default());
        }
        if let Some(row) = self.rows.last_mut() {
            row.add_block(stats);
            row.add_sequential(sequential);
        }
    }

    /// Notes the flush of the block at `place`.
    pub(crate) fn flushed(&mut self, place: u64, time: Duration) {
        let row = place.checked_div(self.width).and_then(|row| usize::try_from(row).ok());
        let row = row.and_then(|row| self.rows.get_mut(row));
        row.into_iter().for_each(|row| row.add_flush(time));
    }

    /// The speed-up of the last row so far.
    pub(crate) fn speed_up(&self) -> Option<f64> {
        self.rows.last()?.speed_up()
    }

    /// First height, last height and figures of each row.
    fn iter(&self) -> impl Iterator<Item = (u64, u64, &Summary<Bytes>)> {
        self.rows.iter().scan(self.from, |before, row| {
            let first = before.saturating_add(1);
            *before = before.saturating_add(row.blocks);
            Some((first, *before, row))
        })
    }

    fn total(&self) -> Summary<Bytes> {
        let mut total = Summary::default();
        self.rows.iter().for_each(|row| total.add(row));
        total
    }
}

/// What a run did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Where the chain was before.
    pub(crate) first: Chain,
    /// Where it is.
    pub(crate) last: Chain,
    pub(crate) path: PathBuf,
    pub(crate) threads: usize,
    /// How the shards did, if there were some.
    pub(crate) tally: Option<Tally>,
    pub(crate) rows: Rows,
    /// Complete walks of all readers.
    pub(crate) walks: u64,
    /// From the first block to the last flush.
    pub(crate) elapsed: Duration,
}

impl Outcome {
    /// For people.
    pub(crate) fn text(&self, args: &Run) -> String {
        let mut table = BlockTable::new("blocks", |key: &Bytes| name_key(key));
        for (first, last, summary) in self.rows.iter() {
            let label = if first == last { grouped(first) } else { format!("{}-{}", grouped(first), grouped(last)) };
            table.row(label, summary.clone());
        }
        let root = |&(height, root): &(u64, Hash)| format!("block {}  root {root}\n", grouped(height));
        let mut roots: String = self.rows.roots.iter().map(root).collect();
        if !roots.is_empty() {
            roots.push('\n');
        }
        format!(
            "{workload}: {blocks} of {txns}, {work} µs of work each, on {threads}; \
             sequential and parallel execution agree\n\n\
             {table}\n\
             {roots}\
             {shards}\
             {walks} by {readers} meanwhile, each over one whole state\n\
             height {height} with {total} is durable in {path}, after {seconds} s; run again to go on\n",
            shards = self.tally.as_ref().map(|tally| format!("{tally}\n")).unwrap_or_default(),
            workload = self.last.workload,
            blocks = counted(self.last.height.saturating_sub(self.first.height), "block"),
            txns = counted(args.txns, "transaction"),
            work = grouped(args.work),
            threads = counted(self.threads as u64, "thread"),
            walks = counted(self.walks, "complete walk"),
            readers = counted(args.readers, "reader"),
            height = grouped(self.last.height),
            total = counted(self.last.transactions, "transaction"),
            path = self.path.display(),
            seconds = grouped_decimal(self.elapsed.as_secs_f64(), 1),
        )
    }

    /// For programs.
    ///
    /// # Errors
    /// None that occur: the document is numbers and text.
    pub(crate) fn json(&self, args: &Run) -> Result<String, Failure> {
        let document = Document {
            command: "run",
            workload: self.last.workload.to_string(),
            seed: self.last.seed,
            accounts: self.last.accounts,
            db: self.path.display().to_string(),
            threads: self.threads,
            shards: self.tally.clone(),
            work_us: args.work,
            transactions_per_block: args.txns,
            from_height: self.first.height,
            height: self.last.height,
            transactions_in_store: self.last.transactions,
            agree: true,
            elapsed_us: micros(self.elapsed),
            state_roots: self
                .rows
                .roots
                .iter()
                .map(|(block, root)| Root { block: *block, root: root.to_string() })
                .collect(),
            rows: self.rows.iter().map(|(first, last, row)| Figures::new(Some((first, last)), row)).collect(),
            total: Figures::new(None, &self.rows.total()),
            readers: Readers { threads: args.readers, walks: self.walks },
        };
        let text = serde_json::to_string_pretty(&document);
        text.map(|text| text + "\n").map_err(|error| Failure::System(format!("cannot write JSON: {error}")))
    }
}

/// So many of a thing, in words.
fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[derive(Serialize)]
struct Document {
    command: &'static str,
    workload: String,
    seed: u64,
    accounts: u64,
    db: String,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Tally>,
    work_us: u64,
    transactions_per_block: u64,
    from_height: u64,
    height: u64,
    transactions_in_store: u64,
    /// A run whose executions differ has no document, but an exit status.
    agree: bool,
    elapsed_us: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    state_roots: Vec<Root>,
    rows: Vec<Figures>,
    total: Figures,
    readers: Readers,
}

#[derive(Serialize)]
struct Root {
    block: u64,
    root: String,
}

#[derive(Serialize)]
struct Figures {
    #[serde(skip_serializing_if = "Option::is_none")]
    first_block: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_block: Option<u64>,
    blocks: u64,
    transactions: u64,
    executions: u64,
    conflicts: u64,
    conflicts_by_cause: Causes,
    most_conflicted_keys: Vec<Key>,
    parallel_us: u64,
    sequential_us: u64,
    speed_up: Option<f64>,
    transactions_per_second: Option<f64>,
    flush_us: u64,
}

#[derive(Serialize)]
struct Causes {
    read: u64,
    range: u64,
    blocked: u64,
    lost: u64,
    refused: u64,
    failed: u64,
}

#[derive(Serialize)]
struct Key {
    key: String,
    times: u64,
}

#[derive(Serialize)]
struct Readers {
    threads: u64,
    walks: u64,
}

impl Figures {
    fn new(blocks: Option<(u64, u64)>, summary: &Summary<Bytes>) -> Self {
        let Aborts { read, range, blocked, lost, refused, failed, .. } = summary.aborts;
        let keys = summary.most_conflicted(KEYS);
        Self {
            first_block: blocks.map(|(first, _)| first),
            last_block: blocks.map(|(_, last)| last),
            blocks: summary.blocks,
            transactions: summary.transactions,
            executions: summary.executions,
            conflicts: summary.aborts.total(),
            conflicts_by_cause: Causes { read, range, blocked, lost, refused, failed },
            most_conflicted_keys: keys.into_iter().map(|(key, times)| Key { key: name_key(key), times }).collect(),
            parallel_us: micros(summary.parallel),
            sequential_us: micros(summary.sequential.unwrap_or_default()),
            speed_up: summary.speed_up(),
            transactions_per_second: summary.per_second(),
            flush_us: micros(summary.flush.unwrap_or_default()),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap_or(u64::MAX)
}
