//! What can go wrong with a block that was given to us: its files, its fields, and what they say together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use revm::primitives::alloy_primitives::Bloom;
use revm::primitives::{Address, B256};

use crate::multiversion::ViewError;

/// An error of the Ethereum room. Each names the file, the transaction and the field it is about.
///
/// Cheap to clone, so that it can be told to everyone who waits for the block.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that the block cannot be read without is not there.
    #[error("{}: there is no such file", file.display())]
    MissingFile {
        /// Where it was looked for.
        file: PathBuf,
    },
    /// The operating system, or the decompressor, did not give the file's contents.
    #[error("{}: cannot be read: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What was said.
        source: Arc<std::io::Error>,
    },
    /// The file ends in the middle of its JSON.
    #[error("{}: ends too early, at line {line} column {column}: the file is truncated", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// The line at which it ends.
        line: usize,
        /// The column at which it ends.
        column: usize,
    },
    /// The file is not JSON.
    #[error("{}: not JSON: {cause}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What the parser said, with line and column.
        cause: String,
    },
    /// The file is a node's answer, and the answer is an error.
    #[error("{}: the node answered with an error: {message}", file.display())]
    Answer {
        /// The file.
        file: PathBuf,
        /// The node's words.
        message: String,
    },
    /// A field that the block's fork or the transaction's type requires is not there.
    #[error("{place}: is missing")]
    MissingField {
        /// The field.
        place: Box<Place>,
    },
    /// A field holds something else than it should: bad hex, a number too large, another JSON type.
    #[error("{place}: {found} is not {expected}")]
    WrongField {
        /// The field.
        place: Box<Place>,
        /// The beginning of what it holds.
        found: String,
        /// What it should hold, in words.
        expected: &'static str,
    },
    /// A transaction has a type that the virtual machine does not know.
    #[error("{place}: {found:#x} is not a known transaction type (0 to 4)")]
    UnknownTransactionType {
        /// The type field.
        place: Box<Place>,
        /// The type.
        found: u64,
    },
    /// A transaction was made for another chain.
    #[error("{place}: the transaction is for chain {found}, the only chain known is mainnet, 1")]
    WrongChain {
        /// The chain field.
        place: Box<Place>,
        /// The chain it was made for.
        found: u64,
    },
    /// The state before the block lacks an account that must have been there.
    #[error("{}: account {address} is missing, and transaction {transaction} cannot have been sent without it", file.display())]
    MissingAccount {
        /// The file of the state.
        file: PathBuf,
        /// The account.
        address: Address,
        /// The transaction that proves that it existed.
        transaction: usize,
    },
    /// An account names a code that is nowhere.
    #[error("{place}: no code with hash {hash} {where_looked}")]
    MissingCode {
        /// The account's code hash field.
        place: Box<Place>,
        /// The hash.
        hash: B256,
        /// Where it was looked for, in words.
        where_looked: WhereLooked,
    },
    /// A code is not what its hash says, or not a code at all.
    #[error("{place}: {cause}")]
    WrongCode {
        /// The code's place.
        place: Box<Place>,
        /// What is wrong with it.
        cause: String,
    },
    /// A contract asked for the hash of an earlier block that was not given.
    #[error(
        "the hash of block {number} was asked for and is not known: put it into a block_hashes.json in the block's folder or above it, as {{\"{number}\": \"0x…\"}}"
    )]
    MissingBlockHash {
        /// The block.
        number: u64,
    },
    /// A transaction that the block cannot have contained: a nonce out of turn, a sender that cannot pay, too little gas.
    #[error("block {block}: transaction {transaction} ({hash}) is invalid: {cause}")]
    InvalidTransaction {
        /// The block.
        block: u64,
        /// The transaction, counted from zero.
        transaction: usize,
        /// Its hash.
        hash: B256,
        /// What the virtual machine says of it.
        cause: String,
    },
    /// A contract's code was needed that was not given with the state before the block.
    #[error("the code with hash {hash} is needed and was not given")]
    UnknownCode {
        /// The hash.
        hash: B256,
    },
    /// The state could not be read, or the execution is to be given up.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The block was run, and is not the block that the header describes.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// A run of a block that is not the run its header describes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The transactions used more or less gas.
    #[error("block {block}: used {computed} gas, the header says {expected}")]
    GasUsed {
        /// The block.
        block: u64,
        /// What the header says.
        expected: u64,
        /// What the run arrived at.
        computed: u64,
    },
    /// The transactions logged something else.
    #[error("block {block}: the logs bloom is {computed}, the header says {expected}")]
    LogsBloom {
        /// The block.
        block: u64,
        /// What the header says.
        expected: Box<Bloom>,
        /// What the run arrived at.
        computed: Box<Bloom>,
    },
    /// The receipts differ in something else: an outcome, the gas of one transaction, the order of logs.
    #[error("block {block}: the receipts root is {computed}, the header says {expected}")]
    ReceiptsRoot {
        /// The block.
        block: u64,
        /// What the header says.
        expected: B256,
        /// What the run arrived at.
        computed: B256,
    },
}

/// How much of a field's name a [`Place`] has: enough for any hash.
const LONGEST_NAME: usize = 80;

/// A field of a file, as far as it can be named.
///
/// ```
/// use cachekv::evm::Place;
/// let place = Place::new("block.json").transaction(3).field("gasPrice");
/// assert_eq!(place.to_string(), "block.json: transaction 3: gasPrice");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The transaction, counted from zero.
    pub transaction: Option<usize>,
    /// The account.
    pub account: Option<Address>,
    /// The field, with dots and brackets where fields are nested; empty for the whole.
    pub field: String,
}

impl Place {
    /// The whole of `file`.
    pub fn new(file: impl AsRef<Path>) -> Self {
        Self { file: file.as_ref().into(), transaction: None, account: None, field: String::new() }
    }

    /// The same place within transaction `index`.
    pub fn transaction(mut self, index: usize) -> Self {
        self.transaction = Some(index);
        self
    }

    /// The same place within the account at `address`.
    pub fn account(mut self, address: Address) -> Self {
        self.account = Some(address);
        self
    }

    /// The field `name` of this place, or the beginning of it: a file may hold names of any length.
    pub fn field(mut self, name: &str) -> Self {
        if !self.field.is_empty() {
            self.field.push('.');
        }
        match name.char_indices().nth(LONGEST_NAME) {
            None => self.field.push_str(name),
            Some(_) => self.field.extend(name.chars().take(LONGEST_NAME).chain("...".chars())),
        }
        self
    }

    /// The element `index` of the list at this place.
    pub fn element(mut self, index: usize) -> Self {
        self.field = format!("{}[{index}]", self.field);
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(index) = self.transaction {
            write!(f, ": transaction {index}")?;
        }
        if let Some(address) = self.account {
            write!(f, ": account {address}")?;
        }
        if self.field.is_empty() { Ok(()) } else { write!(f, ": {}", self.field) }
    }
}

/// Where a code was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhereLooked {
    /// In this archive.
    In(PathBuf),
    /// Nowhere: there was no archive beside the block or above it.
    NoArchive,
}

impl fmt::Display for WhereLooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(file) => write!(f, "in {}", file.display()),
            Self::NoArchive => {
                write!(f, "can be had: there is no codes.json.gz or codes.json beside the block or above")
            }
        }
    }
}
