//! The room's own tests: what a network and a peer may do, message by message.

mod channels;
mod lifecycles;
mod puppet;
mod views;
