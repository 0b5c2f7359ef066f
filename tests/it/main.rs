//! Integration tests, one binary for all of them.

mod evm_input;
mod evm_oracle;
mod evm_reference;
