//! The program: what it does, what it leaves behind, and what it says when it cannot.

/// Without room on the disk.
mod full;
/// Killed at any moment.
mod killed;
/// The picture of a block.
mod pictures;
/// What is refused, in one line and with the documented status.
mod refused;
/// What a run does and says.
mod runs;
/// The transfers again, by code of its own.
pub mod twin;

use bytes::Bytes;
use cachekv::kv::{KvRead, KvStore, RedbStore};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A whole state: entries in key order.
pub type State = BTreeMap<Bytes, Bytes>;

/// `cachekv run` with `args`, to be started in `dir`.
pub fn command(dir: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachekv"));
    command.current_dir(dir).arg("run").args(args.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn run(dir: &Path, args: &str) -> Output {
    command(dir, args).output().unwrap()
}

/// Runs what must go well, and returns what it printed.
pub fn good(dir: &Path, args: &str) -> String {
    let output = run(dir, args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{args}: {said}");
    assert_eq!(said, "", "{args}: nobody watches, so no progress is shown");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs what must go well, and returns the document it printed.
pub fn json(dir: &Path, args: &str) -> serde_json::Value {
    serde_json::from_str(&good(dir, &format!("{args} --json"))).unwrap()
}

pub fn state(path: &Path) -> State {
    RedbStore::open(path).unwrap().snapshot().unwrap().range(..).map(Result::unwrap).collect()
}

/// The height in the record of `state`: the fourth number after its mark.
pub fn height(state: &State) -> u64 {
    let record = &state[&b"\xffchain"[..]];
    u64::from_be_bytes(record[32..40].try_into().unwrap())
}
