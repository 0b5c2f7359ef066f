//! When the thread that executes a block calls the others: the policy, and nothing else. No result depends on it.
//!
//! To share a transaction between cores costs some microseconds, for every line of memory that one has written and the other
//! reads, and a thread that sleeps takes its time to wake up. A block of transactions shorter than that is done sooner by
//! one thread, and without what a second would burn.

use std::time::Duration;

/// How many executions have to be timed before they decide: the first ones meet cold caches.
const ENOUGH: u64 = 16;
/// After those, one in so many is timed: the clock is to cost next to nothing.
const TIMED: u64 = 8;
/// How many times the limit the last block's mean must have been for a single execution to decide, if it took four times as
/// long as that. Not before: a thread that sleeps may take longer to wake than a block of short transactions takes, and is then
/// waited for.
const SURELY: u64 = 2;
/// How many times the limit an execution must have taken to decide by itself: as long as it takes to wake a thread.
const BY_ITSELF: u64 = 64;
/// How many times the limit one execution counts at most: a single long one does not speak for its neighbours. Of two that took
/// as long or longer the block is taken to have more: to wait for more evidence is to do alone what could be shared.
const MOST: u64 = 4;
/// The same where all executions of a block are counted together.
const MOST_OF_ALL: u64 = 16;

/// How many short transactions it takes to be sure that a long one among them is not worth sharing them.
const OUTWEIGHED: u64 = 10;

/// What the virtual machine knows of a block's transactions beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Too little: time will tell.
    Nothing,
    /// Nearly all are short, or there is nobody to share them with.
    Short,
    /// Enough are long.
    Long,
}

impl Known {
    /// Of each transaction, whether it is long, if that is known.
    pub(super) fn of(transactions: impl Iterator<Item = Option<bool>>) -> Self {
        let (mut long, mut short, mut unknown) = (0, 0, 0);
        for is_long in transactions {
            *is_long.map_or(&mut unknown, |is_long| if is_long { &mut long } else { &mut short }) += 1_u64;
        }
        let long = long.saturating_mul(OUTWEIGHED);
        match unknown {
            0 if long <= short => Self::Short,
            _ if long > short + unknown => Self::Long,
            _ => Self::Nothing,
        }
    }
}

/// The mean time of an execution, and whether it is worth company.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    known: Known,
    /// In ns, as the following.
    limit: u64,
    /// The mean of the last block, 0 if there was none.
    before: u64,
    /// Of this block: of the first few all the same, later ones weigh more the later they are.
    mean: u64,
    timed: u64,
    /// How many of them were long.
    long: u64,
    /// The longest, in ns.
    longest: u64,
    /// All of them, in ns.
    sum: u128,
}

impl Pace {
    /// Of an executor whose last block had a mean of `before` ns, 0 if there was none. Others are called from a mean of `limit`,
    /// unless what is `known` decides.
    pub(super) fn new(limit: Duration, before: u64, known: Known) -> Self {
        Self { known, limit: nanoseconds(limit), before, mean: 0, timed: 0, long: 0, longest: 0, sum: 0 }
    }

    /// Of a block that is executed by one thread, whatever its executions take.
    pub(super) fn alone() -> Self {
        Self::new(Duration::MAX, 0, Known::Short)
    }

    /// Whether the execution that is about to begin, with so many before it, is to be timed.
    pub(super) fn is_due(&self, executions: u64) -> bool {
        self.known != Known::Short && (self.timed < ENOUGH || executions.is_multiple_of(TIMED))
    }

    /// An execution has taken so long.
    pub(super) fn timed(&mut self, took: Duration) {
        self.timed += 1;
        let most = self.limit.saturating_mul(MOST);
        self.long += u64::from(nanoseconds(took) >= most);
        self.longest = self.longest.max(nanoseconds(took));
        self.sum += u128::from(nanoseconds(took).min(self.limit.saturating_mul(MOST_OF_ALL)));
        let took = nanoseconds(took).min(most);
        let weight = self.timed.min(TIMED);
        self.mean = self.mean - self.mean / weight + took / weight;
    }

    /// Whether others are worth calling.
    pub(super) fn is_worth_company(&self) -> bool {
        let surely = self.limit.saturating_mul(SURELY);
        let says_enough =
            self.timed >= ENOUGH || self.long >= 2 || self.longest >= self.limit.saturating_mul(BY_ITSELF);
        match self.known {
            _ if self.limit == 0 => true,
            Known::Short => false,
            Known::Long => true,
            Known::Nothing if self.before >= surely && self.longest >= surely.saturating_mul(4) => true,
            Known::Nothing => says_enough && self.mean >= self.limit,
        }
    }

    /// What the next block is to begin with, in ns.
    pub(super) fn mean(&self) -> u64 {
        let missing = ENOUGH.saturating_sub(self.timed); // these were as before
        let sum = self.sum + u128::from(self.before) * u128::from(missing);
        u64::try_from(sum / u128::from(self.timed.max(ENOUGH))).unwrap_or(u64::MAX)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(2);

    fn after(before: u64, times: impl IntoIterator<Item = u64>) -> Pace {
        let mut pace = Pace::new(LIMIT, before, Known::Nothing);
        times.into_iter().for_each(|ns| pace.timed(Duration::from_nanos(ns)));
        pace
    }

    #[test]
    fn one_execution_says_enough_where_the_last_block_was_well_worth_company() {
        assert!(!after(4_000, []).is_worth_company(), "this one may be short");
        assert!(!after(4_000, [15_000]).is_worth_company(), "the first meets cold caches");
        assert!(after(4_000, [16_000]).is_worth_company());
        assert!(!after(3_000, [16_000]).is_worth_company());
        assert!(after(0, [128_000]).is_worth_company(), "as long as it takes to wake a thread");
    }

    #[test]
    fn what_is_known_beforehand_decides() {
        let known = |transactions: &[(u64, Option<bool>)]| {
            let each = transactions.iter().flat_map(|(times, is_long)| (0..*times).map(|_| *is_long));
            Known::of(each)
        };
        assert_eq!(known(&[(100, None)]), Known::Nothing);
        assert_eq!(known(&[(100, Some(false))]), Known::Short);
        assert_eq!(known(&[(100, Some(false)), (10, Some(true))]), Known::Short);
        assert_eq!(known(&[(100, Some(false)), (11, Some(true))]), Known::Long);
        assert_eq!(known(&[(100, Some(false)), (1, None)]), Known::Nothing);
        assert_eq!(known(&[(100, None), (10, Some(true))]), Known::Nothing);
        assert_eq!(known(&[(100, None), (11, Some(true))]), Known::Long);
        assert!(Pace::new(LIMIT, 0, Known::Long).is_worth_company());
        let mut short = Pace::new(LIMIT, 100_000, Known::Short);
        (0..100).for_each(|_| short.timed(Duration::from_millis(1)));
        assert!(!short.is_worth_company());
        assert!(Pace::new(Duration::ZERO, 0, Known::Short).is_worth_company());
    }

    #[test]
    fn long_executions_call_and_short_ones_do_not() {
        assert!(after(0, [5_000; 16]).is_worth_company());
        assert!(!after(0, [500; 100]).is_worth_company());
        assert!(after(0, [500; 100].into_iter().chain([9_000; 4])).is_worth_company(), "later ones are not seen");
    }

    #[test]
    fn two_long_executions_at_the_beginning_say_enough() {
        assert!(!after(0, [100_000]).is_worth_company());
        assert!(after(0, [100_000, 500, 100_000]).is_worth_company());
        assert!(!after(0, [8_000].into_iter().chain([100; 8]).chain([8_000])).is_worth_company(), "most are short");
    }

    #[test]
    fn the_next_block_begins_with_what_all_of_this_one_took_and_not_with_its_end() {
        let transfers_at_the_end = after(0, [20_000; 50].into_iter().chain([1_000; 50]));
        assert_eq!(transfers_at_the_end.mean(), 10_500);
    }

    #[test]
    fn one_long_execution_does_not_speak_for_its_neighbours() {
        let long = [3_000_000].into_iter().chain([100; 40]);
        assert!(!after(0, long).is_worth_company());
    }

    #[test]
    fn a_limit_of_zero_calls_at_once() {
        assert!(Pace::new(Duration::ZERO, 0, Known::Nothing).is_worth_company());
    }

    #[test]
    fn the_next_block_begins_with_the_mean_of_this_one_as_far_as_it_says_anything() {
        assert_eq!(after(7, [1_000; 16]).mean(), 1_000);
        assert_eq!(after(17_000, [1_000; 12]).mean(), 5_000);
        assert_eq!(after(7, []).mean(), 7);
        let mut longest = Pace::new(Duration::MAX, u64::MAX, Known::Nothing);
        (0..20).for_each(|_| longest.timed(Duration::MAX));
        assert!(longest.mean() > u64::MAX / 2);
    }
}
