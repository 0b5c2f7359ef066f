//! The seam to the network: packets go out to a peer, and come in from one. Nothing more is asked of it.

use super::crew::StillRunning;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

/// Whom a transport can reach: for a coordinator its shards; for a shard whoever has connected to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer(pub u64);

/// Takes the packets that come in; it never waits.
pub type Receiver = Arc<dyn Fn(Peer, Bytes) + Send + Sync>;

/// Why a transport could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address cannot be used.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address.
        address: String,
        /// Why not: taken, not an address, not one of this machine.
        why: String,
    },
    /// Certificates or keys cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// Something else is wrong with how it is to be used.
    #[error("{0}")]
    Config(String),
    /// The operating system gave no thread.
    #[error("no threads: {0}")]
    Threads(String),
}

/// Carries packets between peers. It may lose, repeat, delay, reorder and damage them, and need not say so.
pub trait Transport: Send + Sync + 'static {
    /// Begins to carry: once this has returned, packets go out, and come in by `receiver`.
    ///
    /// # Errors
    /// [`TransportError`]; nothing was begun.
    fn open(&self, receiver: Receiver) -> Result<(), TransportError>;

    /// Takes `packet` to be carried to `peer`. Does not wait: where there is no room, or no way, the packet is lost.
    fn send(&self, peer: Peer, packet: Bytes);

    /// Ends it. May be called at any time, by several at once, and again.
    ///
    /// # Errors
    /// [`StillRunning`] at the deadline.
    fn close(&self, deadline: Instant) -> Result<(), StillRunning>;
}
