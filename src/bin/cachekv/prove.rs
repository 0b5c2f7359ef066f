//! `cachekv prove` and `cachekv verify`: what a state says of a key, to be believed by whoever knows its root.

use crate::failure::Failure;
use crate::root::{json, open_tree};
use bytes::Bytes;
use cachekv::restore::{Hash, Proof};
use serde::Serialize;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  cachekv prove c --db it.redb                            what the counter is, or that there is none
  cachekv prove 0x610000000000000007 --db it.redb --at 12 account 7 after block 12
  cachekv prove c --db it.redb | cachekv verify --root 5d0c...";

/// Prove what a state says of a key: its value, or that it does not exist
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub(crate) struct ProveArgs {
    /// The key, as text, or as bytes in hexadecimal after 0x
    #[arg(value_name = "KEY")]
    key: String,
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

/// Check a proof against a root that is trusted
///
/// Reads what `cachekv prove` printed, with or without --json.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// The file of the proof [default: the standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The root of the state, from a source that is trusted
    #[arg(long, value_name = "HASH")]
    root: Hash,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    command: &'static str,
    block: u64,
    root: String,
    key: String,
    exists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

impl Document {
    fn new(command: &'static str, root: Hash, proof: &Proof) -> Self {
        let (key, value) = (hex(proof.key()), proof.value().map(|value| hex(value)));
        Self {
            command,
            block: proof.version(),
            root: root.to_string(),
            key,
            exists: value.is_some(),
            value,
            proof: None,
        }
    }

    fn text(&self) -> String {
        let value = self.value.as_ref().map_or("does not exist".into(), |value| format!("has the value 0x{value}"));
        format!("the key 0x{} {value} in the state with root {}\n", self.key, self.root)
    }
}

/// Makes the proof that `args` ask for.
///
/// # Errors
/// If the store has no such block, or cannot be read.
pub(crate) fn prove(args: &ProveArgs) -> Result<String, Failure> {
    let key = match args.key.strip_prefix("0x") {
        None => Bytes::copy_from_slice(args.key.as_bytes()),
        Some(digits) => unhex(digits).ok_or_else(|| Failure::Usage(format!("{} is not hexadecimal", args.key)))?,
    };
    let tree = open_tree(&args.db)?;
    let block = tree.version(args.at)?;
    let root = tree.root(block)?;
    let proof = tree.prove(&key, block)?;
    proof.verify(&root)?; // a damaged store is noticed here and not by whoever is to believe it
    let mut document = Document::new("prove", root, &proof);
    let text = format!("{}block {block}\nproof {}\n", document.text(), hex(&proof.encode()));
    document.proof = Some(hex(&proof.encode()));
    if args.json { json(&document) } else { Ok(text) }
}

/// Checks the proof that `args` name.
///
/// # Errors
/// If it does not hold, or is none.
pub(crate) fn verify(args: &VerifyArgs) -> Result<String, Failure> {
    let unread = |name: &str, error: io::Error| Failure::System(format!("cannot read {name}: {error}"));
    let mut given = Vec::new();
    match &args.file {
        Some(path) => given = fs::read(path).map_err(|error| unread(&path.display().to_string(), error))?,
        None => drop(io::stdin().read_to_end(&mut given).map_err(|error| unread("the standard input", error))?),
    }
    let digits = str::from_utf8(&given).ok().and_then(digits);
    let bytes = digits.and_then(|digits| unhex(&digits));
    let bytes = bytes.ok_or_else(|| Failure::Wrong("what was given is no proof".into()))?;
    let proof = Proof::decode(bytes)?;
    proof.verify(&args.root)?;
    let document = Document::new("verify", args.root, &proof);
    if args.json { json(&document) } else { Ok(format!("proved: {}", document.text())) }
}

/// The digits of the proof in what `prove` printed, or in a file that has nothing else.
fn digits(text: &str) -> Option<String> {
    if let Ok(document) = serde_json::from_str::<serde_json::Value>(text) {
        return document.get("proof")?.as_str().map(str::to_owned);
    }
    let line = text.lines().find_map(|line| line.strip_prefix("proof "));
    Some(line.unwrap_or(text).trim().to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Bytes> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}
