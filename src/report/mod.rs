//! Executed blocks as a table that a person likes to read.
//!
//! In come the [`BlockStats`](crate::executor::BlockStats) that the executor returns, and what else was measured beside
//! them; out comes text. Nothing here measures, prints or decides: a [`Summary`] adds up, a [`BlockTable`] lays out.
//!
//! ```text
//! BlockStats ──▶ Summary ──▶ BlockTable ──▶ text
//!   a block      some blocks   one row each
//! ```
//!
//! The files, each using those before it: `number` (figures as text), `table` (columns), `summary`, `blocks`.

mod blocks;
mod number;
mod summary;
mod table;

pub use blocks::BlockTable;
pub use number::{grouped, grouped_decimal, milliseconds};
pub use summary::Summary;
pub use table::{Align, Table};
