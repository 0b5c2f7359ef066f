//! Executed blocks as a table that a person likes to read, and one of them as a picture.
//!
//! In come the [`BlockStats`](crate::executor::BlockStats) that the executor returns, and what else was measured beside
//! them; out comes text. Nothing here measures, prints or decides: a [`Summary`] adds up, a [`BlockTable`] lays out, a
//! [`BlockPicture`] draws.
//!
//! ```text
//! BlockStats ─┬─▶ Summary ──▶ BlockTable ──▶ text
//!   a block   │  some blocks  one row each
//!             └─▶ BlockPicture ─┬─▶ page
//!                recorded block └─▶ trace
//! ```
//!
//! The files, each using those before it: `number` (figures as text), `table` (columns), `summary`, `blocks`; `json`, `picture`,
//! `trace`, `page` with the markup, style and script in its folder.

mod blocks;
mod json;
mod number;
mod page;
mod picture;
mod summary;
mod table;
mod trace;

pub use blocks::BlockTable;
pub use number::{grouped, grouped_decimal, milliseconds};
pub use picture::BlockPicture;
pub use summary::Summary;
pub use table::{Align, Table};
