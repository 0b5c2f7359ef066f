//! What coordinator and shards tell each other.
//!
//! Every message of a block carries its [`BlockKey`]; what fits no live block is counted and dropped. The encoding is borsh:
//! strict (one value, one form; nothing may follow it) and bounded (a length that the bytes do not bear out allocates
//! nothing). Its version is that of the packet around it.

use crate::multiversion::TxIndex;
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;

/// One attempt at one block of one coordinator's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct BlockKey {
    /// The coordinator's life: drawn when it starts, so that what was meant for the one before fits nothing.
    pub session: u64,
    /// The how-many-eth block of the session.
    pub block: u64,
    /// The how-many-eth attempt at it.
    pub attempt: u32,
}

impl std::fmt::Display for BlockKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}/{}/{}", self.session, self.block, self.attempt)
    }
}

/// What a transaction did to a key that it was declared to write.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Outcome {
    /// It did not write it.
    NotWritten,
    /// It gave it this value.
    Put(Bytes),
    /// It deleted it.
    Delete,
    /// It left these operands of a merge: what they come to is for who has what lies below.
    Merge(Vec<Bytes>),
}

/// A transaction that a shard executes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Own {
    /// Its place in the block.
    pub place: TxIndex,
    /// The transaction.
    pub transaction: Bytes,
    /// Every key that it may write.
    pub writes: Vec<Bytes>,
    /// Of these, by their place in `writes`, the ones that other shards wait for.
    pub told: Vec<u32>,
}

/// A shard's share of a block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Begin {
    /// Which block.
    pub key: BlockKey,
    /// How many places of it matter to this shard: one more than its last.
    pub places: TxIndex,
    /// Its own transactions, in order of their places.
    pub own: Vec<Own>,
    /// The keys that transactions of other shards may write and this one may touch, by place. Their outcomes follow.
    pub others: Vec<(TxIndex, Vec<Bytes>)>,
    /// What will probably be read, and is answered without being asked for: each of these as the answer to a request, that of
    /// the number of its place.
    pub pushed: Vec<Vec<Bytes>>,
    /// What will probably be read beyond that.
    pub prefetch: Vec<Bytes>,
    /// How long the block may take, in microseconds.
    pub within: u64,
}

/// A request for the values of keys in the state before the block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Fetch {
    /// Which block.
    pub key: BlockKey,
    /// Which request; drawn by the shard, once.
    pub request: u64,
    /// Whether somebody waits for it; otherwise it is a guess.
    pub demand: bool,
    /// What is asked for.
    pub keys: Vec<Bytes>,
}

/// A request for the entries of a range of the state before the block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Scan {
    /// Which block.
    pub key: BlockKey,
    /// Which request; drawn by the shard, once.
    pub request: u64,
    /// Where the range begins.
    pub start: Limit,
    /// Where it ends.
    pub end: Limit,
    /// Whether the entries are wanted from its end.
    pub backward: bool,
    /// How many entries are wanted at most.
    pub most: u32,
}

/// An end of a range.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Limit {
    /// There is none.
    Unbounded,
    /// This key, itself in the range.
    Included(Bytes),
    /// This key, itself not in the range.
    Excluded(Bytes),
}

/// Why a read has no answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum ReadFailure {
    /// The key, or a key in the range, is written by a transaction of another shard, and this shard was not declared to
    /// touch it: what stands below the block may not be its value.
    #[error("key {key} is written on another shard, and was not declared to be read on this one")]
    Undeclared {
        /// The key, as it prints itself.
        key: String,
    },
    /// The coordinator's store could not be read.
    #[error("the coordinator's store: {0}")]
    Store(String),
    /// The coordinator cannot read the key asked for.
    #[error("the coordinator does not understand the key")]
    Malformed,
    /// The coordinator knows no such block, or no longer.
    #[error("the coordinator has closed the block")]
    Closed,
}

/// The values of the keys of a [`Fetch`], or of those [pushed](Begin::pushed).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Answer {
    /// Which block.
    pub key: BlockKey,
    /// Which request.
    pub request: u64,
    /// Each key asked for, once, with its value (`None`: it does not exist).
    pub values: Vec<(Bytes, Result<Option<Bytes>, ReadFailure>)>,
}

/// The entries of a [`Scan`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Page {
    /// Which block.
    pub key: BlockKey,
    /// Which request.
    pub request: u64,
    /// The entries, in the order asked for.
    pub entries: Result<Vec<(Bytes, Bytes)>, ReadFailure>,
    /// Whether the range goes on after them.
    pub more: bool,
}

/// The outcomes of transactions, for the shards that wait for them.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Resolved {
    /// Which block.
    pub key: BlockKey,
    /// By place, what became of each key.
    pub outcomes: Vec<(TxIndex, Vec<(Bytes, Outcome)>)>,
}

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Executed {
    /// Its place in the block.
    pub place: TxIndex,
    /// Its output.
    pub output: Bytes,
    /// What it wrote, in key order: a value, or `None` for a delete.
    pub writes: Vec<(Bytes, Option<Bytes>)>,
}

/// What a shard's share came to.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Done {
    /// Which block.
    pub key: BlockKey,
    /// Its transactions, in order of their places.
    pub executed: Vec<Executed>,
    /// Executions begun, repeated ones included.
    pub executions: u64,
}

/// Why a shard's share came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum ShardFailure {
    /// A transaction wrote what it was not declared to write, or read what it was not declared to read.
    #[error("transaction {place:?} touched key {key}, which it was not declared to touch")]
    Undeclared {
        /// The transaction, if it is known.
        place: Option<TxIndex>,
        /// The key, as it prints itself.
        key: String,
    },
    /// The block ended as it would have unsharded: a transaction failed or panicked, or the store could not be read.
    #[error("{0}")]
    Block(String),
    /// The share could not be understood.
    #[error("the shard does not understand its share: {0}")]
    Malformed(String),
    /// What the coordinator said contradicted itself, or the state here.
    #[error("wrong answers: {0}")]
    Protocol(String),
    /// Its time was over.
    #[error("the shard ran out of time")]
    Deadline,
    /// It was called off.
    #[error("called off")]
    Aborted,
    /// The shard has as many blocks as it takes.
    #[error("the shard is busy")]
    Busy,
    /// The shard is about to stop, and takes no more.
    #[error("the shard takes no more blocks")]
    Leaving,
}

/// A share that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Failed {
    /// Which block.
    pub key: BlockKey,
    /// Why.
    pub why: ShardFailure,
}

/// From the coordinator to a shard.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ToShard {
    /// Execute this.
    Begin(Box<Begin>),
    /// Values that were asked for.
    Answer(Answer),
    /// Entries that were asked for.
    Page(Page),
    /// What other shards' transactions did.
    Resolved(Resolved),
    /// Stop it, and forget it.
    Abort(BlockKey),
}

/// From a shard to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ToCoordinator {
    /// Values are wanted.
    Fetch(Fetch),
    /// Entries are wanted.
    Scan(Scan),
    /// What its transactions did, for the other shards.
    Resolved(Resolved),
    /// Its share is done.
    Done(Done),
    /// Its share came to nothing.
    Failed(Failed),
    /// It is about to stop: it ends what it has, and takes no more.
    Leaving,
}

/// A message's bytes. Writing into memory cannot fail; a message that could not be written would be empty, and refused.
pub fn encode<M: BorshSerialize>(message: &M) -> Bytes {
    borsh::to_vec(message).unwrap_or_default().into()
}

/// The message of these bytes, `None` if they are none.
///
/// ```
/// use cachekv::remote::BlockKey;
/// use cachekv::remote::message::{ToShard, decode, encode};
/// let abort = ToShard::Abort(BlockKey { session: 1, block: 2, attempt: 0 });
/// assert_eq!(decode(&encode(&abort)), Some(abort));
/// assert_eq!(decode::<ToShard>(b"something else"), None);
/// ```
pub fn decode<M: BorshDeserialize>(bytes: &[u8]) -> Option<M> {
    borsh::from_slice(bytes).ok()
}
