//! Real Ethereum blocks: read from files, run on the parallel executor, and checked against their headers.
//!
//! A block comes as a folder of JSON files and becomes a [`BlockInput`]; what its transactions leave on record are
//! [`Receipt`]s, and [`verify`] says whether they are those of the block. Only mainnet is known. Whatever the files hold,
//! the answer is a value or a typed [`Error`] that names file, transaction and field: never a panic.

mod block;
#[cfg(feature = "remote")]
mod coded;
mod codes;
mod database;
mod error;
mod fork;
mod header;
mod input;
mod instructions;
mod json;
mod machine;
mod prestate;
mod receipts;
mod state;
mod transaction;
mod transfer;

pub use block::Block;
pub use codes::Codes;
pub use error::{Error, Mismatch, Place, WhereLooked};
pub use fork::{BlobLimits, Fork, MAINNET};
pub use header::Header;
pub use input::{BlockFiles, BlockInput};
pub use machine::{Executed, Machine};
pub use prestate::{Account, Accounts};
pub use receipts::{Receipt, TxOutput, block_bloom, gas_used, receipts, receipts_root, verify};
pub use state::{AccountRecord, Change, Changes, StateKey, StateValue, accounts, store};
pub use transaction::Transaction;
pub use transfer::{Transfer, is_precompile};
