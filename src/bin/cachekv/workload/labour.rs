//! Simulated computation: arithmetic that takes about as long as was asked for, on this machine.

use super::{Fault, View};
use borsh::{BorshDeserialize, BorshSerialize};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How much arithmetic a transaction does.
///
/// Arithmetic and not a wait for the clock, so that a thread that does not get a core gets no work done either.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Labour {
    rounds: u64,
}

/// Rounds between two looks at whether the run is still wanted: some tens of microseconds.
const STRETCH: u64 = 1 << 14;

impl Labour {
    /// Work of about `micros` microseconds. Measures the machine for a few milliseconds.
    pub(crate) fn measured(micros: u64) -> Self {
        if micros == 0 {
            return Self { rounds: 0 };
        }
        // The quickest of some attempts is the one that was disturbed least.
        let attempts = (0..16).map(|_| {
            let began = Instant::now();
            grind(STRETCH);
            began.elapsed()
        });
        let quickest = attempts.min().unwrap_or_default().max(Duration::from_nanos(1));
        let rounds = u128::from(micros) * 1000 * u128::from(STRETCH) / quickest.as_nanos();
        Self { rounds: rounds.try_into().unwrap_or(u64::MAX) }
    }

    /// Does the work, unless the run is no longer wanted.
    pub(super) fn perform(&self, view: &View<'_>) -> Result<(), Fault> {
        let mut left = self.rounds;
        while left > STRETCH {
            grind(STRETCH);
            left -= STRETCH;
            view.check()?;
        }
        grind(left);
        Ok(())
    }
}

fn grind(rounds: u64) {
    let mut word = black_box(0x2545_f491_4f6c_dd1d_u64);
    for _ in 0..rounds {
        word ^= word << 13; // each round needs the one before: no compiler and no processor does them at once
        word ^= word >> 7;
        word ^= word << 17;
    }
    black_box(word);
}
