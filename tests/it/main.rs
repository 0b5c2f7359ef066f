//! Integration tests, one binary for all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod evm_input;
mod evm_oracle;
mod evm_reference;
