//! `cachekv root`: the state root of a store, and which blocks it has one for.

use crate::failure::Failure;
use bytes::Bytes;
use cachekv::kv::{KvRead, KvStore, RedbSnapshot, RedbStore};
use cachekv::report::grouped;
use cachekv::restore::StateTree;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Print the state root of a store
///
/// A store has one for every block that `cachekv run --state-root` committed and still keeps.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RootArgs {
    /// The file of the store
    #[arg(long, value_name = "PATH")]
    db: PathBuf,
    /// The block [default: the newest]
    #[arg(long, value_name = "BLOCK")]
    at: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    command: &'static str,
    db: String,
    block: u64,
    root: String,
    entries: u64,
    oldest_block: u64,
    newest_block: u64,
}

/// The tree of the store at `path`.
///
/// # Errors
/// If it cannot be opened, has none, or is an unfinished restore.
pub(crate) fn open_tree(path: &Path) -> Result<StateTree<RedbSnapshot>, Failure> {
    Ok(StateTree::open(RedbStore::open(path)?.snapshot()?)?)
}

/// Finds the root that `args` ask for.
///
/// # Errors
/// If there is none.
pub(crate) fn run(args: &RootArgs) -> Result<String, Failure> {
    let tree = open_tree(&args.db)?;
    let block = tree.version(args.at)?;
    let (root, entries) = (tree.root(block)?, tree.entries(block)?);
    let (oldest, newest) = tree.versions().map_or((block, block), |kept| kept.into_inner());
    if !args.json {
        return Ok(format!(
            "block {}  root {root}  {} entries; blocks {} to {} are kept\n",
            grouped(block),
            grouped(entries),
            grouped(oldest),
            grouped(newest)
        ));
    }
    json(&Document {
        command: "root",
        db: args.db.display().to_string(),
        block,
        root: root.to_string(),
        entries,
        oldest_block: oldest,
        newest_block: newest,
    })
}

/// A document as text.
///
/// # Errors
/// None that occur: documents are numbers and text.
pub(crate) fn json(document: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(document);
    text.map(|text| text + "\n").map_err(|error| Failure::System(format!("cannot write JSON: {error}")))
}

/// Checks that a state may be used: that it is not a part of one.
///
/// # Errors
/// If it is an unfinished restore.
pub(crate) fn check_finished(state: &impl KvRead<Key = Bytes, Value = Bytes>) -> Result<(), Failure> {
    Ok(cachekv::restore::check_finished(state)?)
}
