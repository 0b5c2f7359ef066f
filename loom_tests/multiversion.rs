//! The multiversion store: chains, first writes against ranges, merges against resolving reads.
