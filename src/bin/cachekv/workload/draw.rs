//! Chance that repeats: numbers that depend on nothing but seed, height and place.

/// A stream of numbers for one transaction: SplitMix64 (Steele, Lea, Flood 2014), started from all three.
#[derive(Clone, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64, height: u64, index: u64) -> Self {
        Self(mix(mix(mix(seed) ^ height) ^ index))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`; 0 for a bound of 0. Uniform but for a part in 2^64 / `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_below_their_bound_and_repeat() {
        for bound in [0, 1, 2, 7, u64::MAX] {
            let (mut one, mut two) = (Draw::new(1, 2, 3), Draw::new(1, 2, 3));
            for _ in 0..100 {
                let drawn = one.below(bound);
                assert_eq!(drawn, two.below(bound));
                assert!(drawn < bound.max(1));
            }
        }
    }

    #[test]
    fn every_part_of_the_start_counts() {
        let first = |seed, height, index| Draw::new(seed, height, index).below(u64::MAX);
        let all = [first(0, 0, 0), first(1, 0, 0), first(0, 1, 0), first(0, 0, 1), first(1, 1, 0), first(0, 1, 1)];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}
