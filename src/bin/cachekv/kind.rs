//! Which workload a store was made for.

use clap::ValueEnum;
use std::fmt;

/// Which workload. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Amounts move between two accounts, drawn uniformly
    Transfers = 0,
    /// Orders take price levels that they cross, in order, and leave the rest as a level
    Orderbook = 1,
    /// Everybody adds to one counter, by a merge operator
    Hotkey = 2,
    /// All of these, and journals swept by range deletes, and attempts that roll back
    Mixed = 3,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Kind::Transfers, Kind::Orderbook, Kind::Hotkey, Kind::Mixed];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Transfers => "transfers",
            Kind::Orderbook => "orderbook",
            Kind::Hotkey => "hotkey",
            Kind::Mixed => "mixed",
        })
    }
}
