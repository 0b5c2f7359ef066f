//! `cachekv snapshot`: a state out of one store in verified chunks, and into another.

use crate::chain::Chain;
use crate::failure::Failure;
use crate::root::{json, open_tree};
use cachekv::kv::{KvStore, RedbStore};
use cachekv::report::{grouped, grouped_decimal};
use cachekv::restore::{Cut, Error, Hash, Parts, Restorer, Step, Target, add_chunks_from, export_to};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Export a state as a snapshot, or restore one
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Export(Export),
    Restore(Restore),
}

/// Export the state of a block into a directory
///
/// An export that was interrupted goes on where it stopped when it is made again. A directory is a snapshot once it holds
/// a manifest.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
struct Export {
    /// The file of the store
    #[arg(long, value_name = "PATH")]
    db: PathBuf,
    /// The directory; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The block [default: the newest]
    #[arg(long, value_name = "BLOCK")]
    at: Option<u64>,
    /// The size of a chunk before it is compressed
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = clap::value_parser!(u64).range(1..=1 << 28))]
    chunk_bytes: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Restore a snapshot into a new store
///
/// Every chunk is verified against the root before it is stored. A restore that was interrupted goes on where it stopped
/// when it is run again; until it has ended, the store cannot be used for anything else.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
struct Restore {
    /// The directory of the snapshot
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The file of the store; made if it is not there
    #[arg(long, value_name = "PATH")]
    db: PathBuf,
    /// The root of the state, from a source that is trusted: not from where the snapshot is
    #[arg(long, value_name = "HASH")]
    root: Hash,
    /// Put the state tree into a store of its own: to be proved from and exported; `cachekv run` does not keep it up
    #[arg(long, value_name = "PATH", conflicts_with = "only")]
    tree_db: Option<PathBuf>,
    /// Restore a part; all is verified all the same
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Only {
    /// The entries, without the state tree
    Values,
    /// The state tree: to be proved from and exported, not to be run on
    Tree,
}

#[derive(Serialize)]
struct Document {
    command: &'static str,
    db: String,
    directory: String,
    block: u64,
    root: String,
    entries: u64,
    chunks: u32,
    /// Chunks that were there before.
    resumed_at: u32,
    bytes: u64,
    elapsed_us: u64,
    entries_per_second: f64,
}

/// Does what `args` ask for.
///
/// # Errors
/// What ended it early; run again, it goes on.
pub(crate) fn run(args: &SnapshotArgs) -> Result<String, Failure> {
    match &args.action {
        Action::Export(export) => self::export(export),
        Action::Restore(restore) => self::restore(restore),
    }
}

fn export(args: &Export) -> Result<String, Failure> {
    let tree = open_tree(&args.db)?;
    let block = tree.version(args.at)?;
    let chunk_bytes = usize::try_from(args.chunk_bytes).unwrap_or(usize::MAX);
    let mut watch = Watch::new();
    let cut = Cut { chunk_bytes, ..Cut::default() };
    let manifest = export_to(&args.out, tree, block, cut, &mut |step| watch.step(step))?;
    let elapsed = watch.end();
    let document = Document {
        command: "snapshot export",
        db: args.db.display().to_string(),
        directory: args.out.display().to_string(),
        block,
        root: manifest.root.to_string(),
        entries: manifest.entries,
        chunks: manifest.len(),
        resumed_at: watch.resumed_at(),
        bytes: manifest.bytes,
        elapsed_us: micros(elapsed),
        entries_per_second: watch.rate(elapsed),
    };
    if args.json { json(&document) } else { Ok(text(&document, "exported", &document.directory)) }
}

fn restore(args: &Restore) -> Result<String, Failure> {
    let manifest = cachekv::restore::read_manifest(&args.from)?;
    if manifest.root != args.root {
        return Err(Error::WrongRoot { expected: args.root, found: manifest.root }.into()); // before a file is made
    }
    if args.tree_db.as_ref() == Some(&args.db) {
        return Err(Failure::Usage("--db and --tree-db are the same file: leave --tree-db out for one store".into()));
    }
    let store = RedbStore::create(&args.db)?;
    let target = match (&args.tree_db, args.only) {
        (Some(tree), _) => Target::Two { values: store, tree: RedbStore::create(tree)? },
        (None, None) => Target::One(store, Parts::Everything),
        (None, Some(Only::Values)) => Target::One(store, Parts::Values),
        (None, Some(Only::Tree)) => Target::One(store, Parts::Tree),
    };
    let mut watch = Watch::new();
    let mut restorer = Restorer::open(target, args.root, manifest.clone())?;
    add_chunks_from(&args.from, &mut restorer, &mut |step| watch.step(step))?;
    check_height(&restorer)?; // before it counts as whole
    let (restored, _) = restorer.finish()?;
    let elapsed = watch.end();
    let document = Document {
        command: "snapshot restore",
        db: args.db.display().to_string(),
        directory: args.from.display().to_string(),
        block: restored.version,
        root: restored.root.to_string(),
        entries: restored.entries,
        chunks: restored.chunks,
        resumed_at: watch.resumed_at(),
        bytes: manifest.bytes,
        elapsed_us: micros(elapsed),
        entries_per_second: watch.rate(elapsed),
    };
    if args.json { json(&document) } else { Ok(text(&document, "restored", &document.db)) }
}

/// The root proves the state, and so the height in it; the snapshot's word for the block is held against that.
fn check_height(restorer: &Restorer<RedbStore>) -> Result<(), Failure> {
    let (Some(store), block) = (restorer.values(), restorer.manifest().version) else { return Ok(()) };
    match Chain::of(&store.snapshot()?) {
        // Complete before, and then run on without a tree, which would have noticed.
        Ok(Some(chain)) if chain.height > block && restorer.is_complete() => Err(Failure::Usage(format!(
            "the store was restored before and is at block {} by now: name another file with --db",
            chain.height
        ))),
        Ok(Some(chain)) if chain.height != block => Err(Failure::Wrong(format!(
            "the state with this root is that of block {}: the snapshot wrongly says block {block}. The store is left unfinished",
            chain.height
        ))),
        _ => Ok(()), // a state that `cachekv run` did not make has no height
    }
}

fn text(document: &Document, done: &str, place: &str) -> String {
    let resumed = match document.resumed_at {
        0 => String::new(),
        all if all == document.chunks => ", all of them before".into(),
        chunk => format!(", the first {} of them before", grouped(chunk.into())),
    };
    format!(
        "{done} {} of block {} in {}{resumed}, verified, to {place} in {} s\nroot {}\n",
        counted(document.entries, "entry", "entries"),
        grouped(document.block),
        counted(document.chunks.into(), "chunk", "chunks"),
        grouped_decimal(document.elapsed_us as f64 / 1e6, 1),
        document.root,
    )
}

/// So many of something, in words.
fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { more })
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap_or(u64::MAX)
}

/// Watches something come along: a bar on stderr, or nothing where that is no terminal.
struct Watch {
    bar: ProgressBar,
    began: Instant,
    first: Option<Step>,
    last: Option<Step>,
}

impl Watch {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} entries, {per_sec}, {eta} left");
        let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, began: Instant::now(), first: None, last: None }
    }

    fn step(&mut self, step: Step) {
        if self.first.is_none() {
            self.first = Some(step);
            self.bar.reset_eta();
        }
        self.last = Some(step);
        self.bar.set_length(step.of);
        self.bar.set_position(step.entries);
    }

    fn end(&self) -> Duration {
        self.bar.finish_and_clear();
        self.began.elapsed()
    }

    fn resumed_at(&self) -> u32 {
        self.first.map_or(0, |step| step.chunks)
    }

    /// Entries a second, those that were there before left out.
    fn rate(&self, elapsed: Duration) -> f64 {
        let (first, last) = (self.first.map_or(0, |step| step.entries), self.last.map_or(0, |step| step.entries));
        last.saturating_sub(first) as f64 / elapsed.as_secs_f64().max(1e-6)
    }
}
