//! The integration tests, in one binary.

mod differential;
mod oracle;
mod script;
