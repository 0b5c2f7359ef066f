//! The transfers again: drawn and applied by code of its own, over nothing but a `BTreeMap` of bytes.

use super::State;
use bytes::Bytes;

/// The state that a run of the transfers has to leave.
pub struct Twin {
    pub state: State,
    seed: u64,
    accounts: u64,
    height: u64,
    transactions: u64,
}

fn account(number: u64) -> Bytes {
    [&b"a"[..], &number.to_be_bytes()].concat().into()
}

fn value(number: u64) -> Bytes {
    number.to_be_bytes().to_vec().into()
}

/// The finalizer of SplitMix64.
pub fn finalize(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Twin {
    /// The state before the first block.
    pub fn new(seed: u64, accounts: u64) -> Self {
        let state = (0..accounts).map(|number| (account(number), value(1000))).collect();
        let mut twin = Self { state, seed, accounts, height: 0, transactions: 0 };
        twin.record();
        twin
    }

    /// Executes blocks of `transactions` until the height is `height`.
    pub fn advance(&mut self, height: u64, transactions: u64) {
        while self.height < height {
            self.height += 1;
            (0..transactions).for_each(|index| self.transfer(index));
            self.transactions += transactions;
        }
        self.record();
    }

    fn transfer(&mut self, index: u64) {
        let start = finalize(finalize(finalize(self.seed) ^ self.height) ^ index);
        let mut drawn = (1u64..).map(|n| finalize(start.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        let mut below = |bound: u64| ((drawn.next().unwrap() as u128 * bound as u128) >> 64) as u64;
        let from = below(self.accounts);
        let apart = below(self.accounts - 1) + 1;
        let to = (from + apart) % self.accounts;
        let wanted = below(100) + 1;
        let mut add = |number, amount: i64| {
            let balance = self.state.get_mut(&account(number)).unwrap();
            let sum = u64::from_be_bytes(balance[..].try_into().unwrap()).checked_add_signed(amount);
            sum.map(|sum| *balance = value(sum)).is_some()
        };
        // A sender who cannot pay it all pays what there is.
        let paid = (0..=wanted as i64).rev().find(|paid| add(from, -paid)).unwrap();
        assert!(add(to, paid));
    }

    fn record(&mut self) {
        let numbers = [0, self.seed, self.accounts, self.height, self.transactions];
        let record: Vec<u8> =
            b"blocks\0\x01".iter().copied().chain(numbers.iter().flat_map(|n| n.to_be_bytes())).collect();
        self.state.insert(Bytes::from_static(b"\xffchain"), record.into());
    }
}
