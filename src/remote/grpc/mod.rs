//! The transport between processes and machines: gRPC streams, one for each pair of coordinator and shard.
//!
//! The coordinator calls ([`GrpcDialer`]), the shard answers ([`GrpcListener`]); packets go both ways on one stream for as
//! long as it lives. Each peer has a bounded queue and tasks of its own: one that is slow loses its own packets, which are
//! sent again, and holds up nobody. A connection that breaks, or whose keep-alive is not answered, is dialled again, later
//! each time and never at the same moment as everybody else.
//!
//! **Who may give a shard work.** With TLS and a client authority, whoever has a certificate of it; nobody else gets as far as
//! a stream. Without TLS, whoever reaches the address: so it has to be a loopback address, unless it is said that it need not.

mod dialer;
mod listener;
mod runtime;
mod tls;
mod wire;

pub use dialer::{DialConfig, GrpcDialer};
pub use listener::{GrpcListener, ListenConfig};
pub use tls::Tls;

use std::time::Duration;

/// How many packets wait at most for a connection to take them. The link sends no more than its window at once.
const QUEUE: usize = 256;

/// How often an idle connection is asked whether it is there, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(4);

/// The most bytes of a packet that are taken.
const PACKET_BYTES: usize = 8 << 20;

/// The most streams of one connection: a coordinator opens one, and asks for health.
const STREAMS: u32 = 16;

/// What a connection says of its caller: a number that is the same for all its connections.
const CALLER: &str = "cachekv-caller";

/// What a connection says of the machine that it wants blocks to be executed with, and of the protocol's version.
const MACHINE: &str = "cachekv-machine";
const PROTOCOL: &str = "cachekv-protocol";
