#![cfg(feature = "evm")]
