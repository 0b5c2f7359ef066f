//! Workloads: what the transactions of a block are, what they do, and what must hold of every state they leave.
//!
//! Keys and values are bytes of fixed width, numbers big-endian, so that keys sort as the numbers in them do. The first
//! byte of a key says whose it is:
//!
//! ```text
//! a <account>                  a balance                           transfers
//! c                            the counter                         hotkey
//! j <bucket> <height> <index>  an entry of a journal               mixed
//! o <market> A|B <price>       a price level: asks, bids           orderbook
//! ```
//!
//! A transaction is a function of seed, height and its place in the block, whatever was executed before and on whichever
//! machine: so a run that was cut short goes on with the transactions it would have had.

mod access;
mod draw;
mod hotkey;
mod labour;
mod mixed;
mod orderbook;
mod transfers;

pub(crate) use access::accesses;
pub(crate) use labour::Labour;

use crate::chain::Chain;
use crate::kind::Kind;
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use cachekv::executor::Vm;
use cachekv::kv::{Op, WriteBatch};
use cachekv::multiversion::{TxView, ViewError};
use draw::Draw;
use hotkey::Add;
use std::fmt;

/// A transaction of any workload.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) enum Transaction {
    Transfer(transfers::Transfer),
    Order(orderbook::Order),
    Count,
    Mixed(mixed::Mixed),
}

/// What a transaction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) enum Receipt {
    /// An amount moved; the sender is left with a balance.
    Moved { amount: u64, left: u64 },
    /// A quantity was taken from the book at a total cost; the rest stays there.
    Traded { taken: u64, cost: u64, rest: u64 },
    /// One was added to the counter.
    Counted,
    /// This many entries of a journal were swept.
    Swept { entries: u64 },
    /// An attempt was taken back.
    TakenBack,
}

/// Why a transaction stops its block.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    View(ViewError),
    /// A value is not of the form this program writes.
    Malformed(Bytes),
}

impl From<ViewError> for Fault {
    fn from(error: ViewError) -> Self {
        Fault::View(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::View(error) => error.fmt(f),
            Fault::Malformed(key) => write!(f, "{} has a value that is no number", name_key(key)),
        }
    }
}

/// What transactions execute against.
pub(crate) type View<'a> = TxView<'a, Bytes, Bytes, Add>;

/// Executes transactions.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) labour: Labour,
}

impl Vm for Machine {
    type Key = Bytes;
    type Value = Bytes;
    type Merge = Add;
    type Transaction = Transaction;
    type Output = Receipt;
    type Error = Fault;

    fn execute(&self, transaction: &Transaction, view: &View<'_>) -> Result<Receipt, Fault> {
        match transaction {
            Transaction::Transfer(transfer) => transfer.execute(&self.labour, view),
            Transaction::Order(order) => order.execute(&self.labour, view),
            Transaction::Count => hotkey::execute(&self.labour, view),
            Transaction::Mixed(mixed) => mixed.execute(&self.labour, view),
        }
    }
}

/// The state that a chain begins with, its record included.
pub(crate) fn genesis(chain: &Chain) -> WriteBatch<Bytes, Bytes> {
    let mut batch: Vec<(Bytes, Op<Bytes>)> = Vec::new();
    let mut put = |key: Bytes, value: u64| batch.push((key, Op::Put(number(value))));
    match chain.workload {
        Kind::Transfers => transfers::genesis(chain.accounts, &mut put),
        Kind::Orderbook => orderbook::genesis(chain.accounts, &mut put),
        Kind::Hotkey => hotkey::genesis(&mut put),
        Kind::Mixed => {
            transfers::genesis(chain.accounts, &mut put);
            hotkey::genesis(&mut put);
            orderbook::genesis(chain.accounts, &mut put);
        }
    }
    batch.push((Bytes::from_static(crate::chain::KEY), Op::Put(chain.encode())));
    batch.into_iter().collect()
}

/// The block after `chain`, of `transactions`.
pub(crate) fn block(chain: &Chain, transactions: u64) -> Vec<Transaction> {
    let height = chain.height.saturating_add(1);
    let draw = |index| Draw::new(chain.seed, height, index);
    let transaction = |index| match chain.workload {
        Kind::Transfers => Transaction::Transfer(transfers::Transfer::draw(&mut draw(index), chain.accounts)),
        Kind::Orderbook => Transaction::Order(orderbook::Order::draw(&mut draw(index), chain.accounts)),
        Kind::Hotkey => Transaction::Count,
        Kind::Mixed => Transaction::Mixed(mixed::Mixed::draw(&mut draw(index), chain.accounts, height, index)),
    };
    (0..transactions).map(transaction).collect()
}

/// Looks at every entry of a state, in order, and then says what is wrong with the whole.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    balances: transfers::Balances,
    books: orderbook::Books,
    counter: hotkey::Counter,
    chain: Option<Chain>,
}

impl Audit {
    /// Takes the next entry.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn see(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if key == crate::chain::KEY {
            self.chain = Chain::decode(value);
            return Ok(());
        }
        let value = value.try_into().map(u64::from_be_bytes).map_err(|_| format!("{} has no number", name_key(key)))?;
        match key.first() {
            Some(b'a') => self.balances.see(value),
            Some(b'o') => self.books.see(key, value),
            Some(b'c') => self.counter.see(value),
            Some(b'j') if value > 0 => Ok(()),
            _ => Err(format!("{} should not be there", name_key(key))),
        }
    }

    /// The state's record, if the whole is as it must be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn conclude(self) -> Result<Chain, String> {
        let chain = self.chain.ok_or("there is no record of height")?;
        let kind = chain.workload;
        let accounts = if matches!(kind, Kind::Transfers | Kind::Mixed) { chain.accounts } else { 0 };
        self.balances.conclude(accounts).map_err(|wrong| at(&chain, &wrong))?;
        let counted = if matches!(kind, Kind::Hotkey | Kind::Mixed) { Some(chain.transactions) } else { None };
        self.counter.conclude(counted).map_err(|wrong| at(&chain, &wrong))?;
        Ok(chain)
    }
}

fn at(chain: &Chain, wrong: &str) -> String {
    format!("height {}: {wrong}", chain.height)
}

/// A key in words.
pub(crate) fn name_key(key: &[u8]) -> String {
    let known = match key.split_first() {
        Some((b'a', account)) => account.try_into().ok().map(|a| format!("account {}", u64::from_be_bytes(a))),
        Some((b'o', _)) => orderbook::name(key),
        Some((b'c', [])) => Some("the counter".into()),
        Some((b'j', [bucket, ..])) => Some(format!("journal {bucket}")),
        _ => None,
    };
    known.unwrap_or_else(|| format!("key \"{}\"", key.escape_ascii()))
}

/// A number as a value.
fn number(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

/// The number at `key`, 0 if there is none.
fn read(view: &View<'_>, key: &Bytes) -> Result<u64, Fault> {
    view.get(key)?.map_or(Ok(0), |value| parse(key, &value))
}

fn parse(key: &Bytes, value: &Bytes) -> Result<u64, Fault> {
    value.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| Fault::Malformed(key.clone()))
}
