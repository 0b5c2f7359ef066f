//! Counts of what happened, and of what should not have.

use crate::sync::{AtomicU64, Ordering};

/// Declares the counters once: as they count, and as they are read.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// The counters of one endpoint. Relaxed: they carry nothing but themselves.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What an endpoint has counted since it started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }

        impl Counts {
            /// Every count with its name and what it counts, in words.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name),)*].into_iter()
            }
        }
    };
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }
}

counters! {
    /// Packets that came.
    packets,
    /// Packets that were damaged, or none.
    garbled,
    /// Packets of another version of the protocol.
    versions,
    /// Packets for which there was no room; they come again.
    crowded,
    /// Packets sent again.
    resent,
    /// Messages that could not be understood.
    malformed,
    /// Messages of a block that is not live here.
    stale,
    /// Answers to what was never asked.
    unasked,
    /// Answers that came again, the same.
    repeated,
    /// Answers that came again and were different.
    conflicting,
    /// Answers that did not answer what was asked.
    incomplete,
    /// Answers to a view that was closed.
    late,
    /// Outcomes of transactions that were not expected.
    unexpected,
    /// Messages to a peer that is not there.
    undelivered,
    /// Times a peer came up.
    ups,
    /// Times a peer went down, or restarted.
    downs,
    /// Keys asked for.
    fetched,
    /// Ranges asked for.
    scanned,
    /// Blocks, or shares of blocks, that were begun.
    begun,
    /// Blocks, or shares, that came to their end.
    done,
    /// Blocks, or shares, that came to nothing.
    failed,
    /// Blocks that were executed unsharded instead.
    unsharded,
}
