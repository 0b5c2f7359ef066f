//! The frame on the wire: generated from `link.proto`, and checked against it by a test.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::nursery,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "generated"
)]

include!("../wire/cachekv.remote.v1.rs");
