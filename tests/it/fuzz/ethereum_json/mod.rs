//! Bytes as the files of an Ethereum block: whatever they hold, they are read, or the error says what is wrong, and a block
//! that was read can be executed.
//!
//! An input is the bytes of one file among valid others, or changes to valid files, as JSON and as bytes. What is read is
//! executed sequentially and in parallel if that is cheap: both end alike, and neither by a panic.
//! These files are shared by the fuzz target of this name and by the test that runs its corpus.

mod documents;

use arbitrary::{Result, Unstructured};
use cachekv::evm::{Block, BlockFiles, BlockInput, Codes, Error, accounts, gas_used, receipts, store, verify};
use cachekv::executor::{BlockExecutor, Cause, execute_sequentially};
use cachekv::kv::KvStore;
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;

/// What can happen in a run; an input's share of it is what [`run`] returns, one bit each.
pub const EVENTS: &[&str] = &[
    "a block that was read",
    "a block that was executed to its end",
    "a file cut short",
    "a file that is not JSON",
    "a node's error",
    "a missing field",
    "a wrong field",
    "an unknown type of transaction",
    "a transaction for another chain",
    "a missing account",
    "a missing code",
    "a wrong code",
    "an archive that cannot be decompressed",
    "an invalid transaction",
    "a missing block hash",
];
const READ: u32 = 1 << 0;
const EXECUTED: u32 = 1 << 1;

/// What is executed in a run: more would be a test of the virtual machine.
const MOST_GAS: u64 = 300_000;
const MOST_TRANSACTIONS: usize = 16;

/// An error's words are no longer than this, whatever the file holds.
const MOST_SAID: usize = 1000;

static EXECUTOR: LazyLock<BlockExecutor> = LazyLock::new(|| crate::acts::sharing(2));

/// The contents of the four files.
type Files = [Vec<u8>; 4];
const NAMES: [&str; 4] = ["block.json", "pre_state.json", "block_hashes.json", "codes.json"];

/// Reads the files that `data` decodes to; panics where the reader does, or says nothing. Returns the [`EVENTS`] it met.
pub fn run(data: &[u8]) -> u32 {
    decode(&mut Unstructured::new(data)).map_or(0, |files| read(&files))
}

fn decode(input: &mut Unstructured<'_>) -> Result<Files> {
    let mut documents = input.choose(&documents::VALID)?.clone();
    let raw = input.ratio(1, 4)?;
    if raw {
        let which = input.choose_index(documents.len())?;
        let mut files = documents.map(|document| document.to_string().into_bytes());
        files[which] = input.bytes(input.len())?.to_vec();
        return Ok(files);
    }
    for _ in 0..input.int_in_range(0..=5)? {
        documents::mutate(&mut documents, input)?;
    }
    let mut files = documents.map(|document| document.to_string().into_bytes());
    if input.ratio(1, 4)? {
        files[3] = compressed(&files[3]);
    }
    if input.ratio(1, 3)? {
        let which = input.choose_index(files.len())?;
        spoil(&mut files[which], input)?;
    }
    Ok(files)
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Changes some bytes of a file.
fn spoil(file: &mut Vec<u8>, input: &mut Unstructured<'_>) -> Result<()> {
    for _ in 0..input.int_in_range(1..=3)? {
        let at = input.int_in_range(0..=file.len())?;
        match input.int_in_range(0..=3u8)? {
            0 => file.truncate(at),
            1 => file.insert(at, input.arbitrary()?),
            2 if at < file.len() => drop(file.remove(at)),
            _ => {
                let flip: u8 = input.arbitrary()?;
                file.get_mut(at).into_iter().for_each(|byte| *byte ^= flip);
            }
        }
    }
    Ok(())
}

fn read(files: &Files) -> u32 {
    let [block, pre_state, hashes, codes] = files;
    let mut events = 0;
    let codes = Codes::parse(Path::new(NAMES[3]), codes).unwrap_or_else(|error| {
        events |= said(&error);
        Codes::none()
    });
    let names = BlockFiles {
        block: NAMES[0].into(),
        pre_state: NAMES[1].into(),
        codes: Some(NAMES[3].into()),
        block_hashes: Some(NAMES[2].into()),
    };
    match BlockInput::parse(&names, block, pre_state, Some(hashes), &codes) {
        Ok(input) => {
            // Nothing that was read is larger than what it was read from.
            let slots: usize = input.pre_state.values().map(|account| 1 + account.storage.len()).sum();
            let data: usize = input.transactions.iter().map(|tx| 1 + tx.env.data.len()).sum();
            assert!(slots <= pre_state.len() && data <= block.len() && input.block_hashes.len() <= 1 + hashes.len());
            events | READ | execute(input)
        }
        Err(error) => events | said(&error),
    }
}

/// The event that an error is; its words must name what it is about, and no more than the beginning of it.
fn said(error: &Error) -> u32 {
    let words = error.to_string();
    assert!(words.len() <= MOST_SAID, "{} bytes of words: {words:.200}", words.len());
    let bit = match error {
        Error::Truncated { .. } => 2,
        Error::Json { .. } => 3,
        Error::Answer { .. } => 4,
        Error::MissingField { .. } => 5,
        Error::WrongField { .. } => 6,
        Error::UnknownTransactionType { .. } => 7,
        Error::WrongChain { .. } => 8,
        Error::MissingAccount { .. } => 9,
        Error::MissingCode { .. } => 10,
        Error::WrongCode { .. } => 11,
        Error::Io { .. } => 12,
        other => panic!("not an error of reading: {other}"),
    };
    assert!(NAMES.iter().any(|name| words.contains(name)), "no file is named: {words}");
    1 << bit
}

/// Executes a block that was read, both ways.
fn execute(input: BlockInput) -> u32 {
    let costly = input.transactions.iter().any(|tx| tx.env.gas_limit > MOST_GAS);
    if costly || input.transactions.len() > MOST_TRANSACTIONS {
        return 0;
    }
    let before = store(&input.pre_state).snapshot().unwrap();
    let block = Block::new(input);
    let due = execute_sequentially(&before, block.transactions(), &block, None);
    let done = EXECUTOR.execute(&before, block.transactions(), &block);
    let (due, done) = match (due, done) {
        (Ok(due), Ok(done)) => (due, done),
        (Err(due), Err(done)) => {
            assert_eq!(due.cause.to_string(), done.cause.to_string());
            assert_eq!(
                (&due.committed.outputs, &due.committed.batch),
                (&done.committed.outputs, &done.committed.batch)
            );
            return match due.cause {
                Cause::Transaction { error: Error::InvalidTransaction { .. }, .. } => 1 << 13,
                Cause::Transaction { error: Error::MissingBlockHash { .. }, .. } => 1 << 14,
                Cause::Transaction { .. } => 0,
                cause => panic!("a block ended by {cause}"),
            };
        }
        (due, done) => panic!("{:?} and {:?}", due.map_err(|e| e.to_string()), done.map_err(|e| e.to_string())),
    };
    assert_eq!((&due.outputs, &due.batch), (&done.outputs, &done.batch));
    let after = store(&block.input().pre_state).commit(due.batch).unwrap();
    accounts(&after).unwrap();
    let receipts = receipts(due.outputs);
    let input = block.input();
    if let Ok(()) = verify(&input.header, &input.fork, &receipts) {
        assert_eq!(gas_used(&receipts), input.header.gas_used);
    }
    EXECUTED
}
