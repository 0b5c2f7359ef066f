//! The integration tests, one binary: each module is one room or one property of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod cachekv;
mod cachekv_failures;
mod cachekv_model;
mod cachekv_races;
mod faulty;
