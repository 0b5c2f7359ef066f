//! Which rules hold in a block of Ethereum mainnet: the fork, by block number and time, and its blob parameters.

use revm::context::CfgEnv;
use revm::primitives::eip4844::{
    BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN, BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE, MAX_BLOB_NUMBER_PER_BLOCK_CANCUN,
    MAX_BLOB_NUMBER_PER_BLOCK_PRAGUE,
};
use revm::primitives::hardfork::SpecId;

/// The chain whose rules are known.
pub const MAINNET: u64 = 1;

/// Forks that began at a block number, newest first.
///
/// Forks that only moved the difficulty bomb are not told apart by the virtual machine. Constantinople was active for
/// no block of its own. The change of state that the DAO fork made at block 1,920,000 is not a transaction, so that
/// this block cannot be run from transactions alone.
const BY_NUMBER: [(u64, SpecId); 10] = [
    (15_537_394, SpecId::MERGE),
    (12_965_000, SpecId::LONDON),
    (12_244_000, SpecId::BERLIN),
    (9_069_000, SpecId::ISTANBUL),
    (7_280_000, SpecId::PETERSBURG),
    (4_370_000, SpecId::BYZANTIUM),
    (2_675_000, SpecId::SPURIOUS_DRAGON),
    (2_463_000, SpecId::TANGERINE),
    (1_150_000, SpecId::HOMESTEAD),
    (0, SpecId::FRONTIER),
];

/// Forks that began at a time, newest first. The last two raised only the number of blobs.
const BY_TIME: [(u64, Fork); 6] = [
    (1_767_747_671, Fork { spec: SpecId::OSAKA, blobs: Some(BlobLimits { max_per_tx: 6, fraction: 11_684_671 }) }),
    (1_765_290_071, Fork { spec: SpecId::OSAKA, blobs: Some(BlobLimits { max_per_tx: 6, fraction: 8_346_193 }) }),
    (1_764_798_551, Fork { spec: SpecId::OSAKA, blobs: Some(BlobLimits { max_per_tx: 6, ..BlobLimits::PRAGUE }) }),
    (1_746_612_311, Fork { spec: SpecId::PRAGUE, blobs: Some(BlobLimits::PRAGUE) }),
    (1_710_338_135, Fork { spec: SpecId::CANCUN, blobs: Some(BlobLimits::CANCUN) }),
    (1_681_338_455, Fork { spec: SpecId::SHANGHAI, blobs: None }),
];

/// The rules of one block of mainnet.
///
/// A block newer than the newest fork that is known runs under that one.
///
/// ```
/// use cachekv::evm::Fork;
/// use revm::primitives::hardfork::SpecId;
/// assert_eq!(Fork::mainnet(4_369_999, 1_508_131_300).spec, SpecId::SPURIOUS_DRAGON);
/// assert_eq!(Fork::mainnet(4_370_000, 1_508_131_331).spec, SpecId::BYZANTIUM);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The fork, in the virtual machine's word.
    pub spec: SpecId,
    /// What holds for blobs; `None` before there were any.
    pub blobs: Option<BlobLimits>,
}

/// How many blobs a transaction may carry, and how fast their price moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobLimits {
    /// The most blobs in a transaction: those of a whole block before Osaka, six after.
    pub max_per_tx: u64,
    /// The divisor in the exponent of the blob price.
    pub fraction: u64,
}

impl BlobLimits {
    const CANCUN: Self =
        Self { max_per_tx: MAX_BLOB_NUMBER_PER_BLOCK_CANCUN, fraction: BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN };
    const PRAGUE: Self =
        Self { max_per_tx: MAX_BLOB_NUMBER_PER_BLOCK_PRAGUE, fraction: BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE };
}

impl Fork {
    /// The rules of mainnet's block `number`, made at `timestamp` (seconds since 1970).
    pub fn mainnet(number: u64, timestamp: u64) -> Self {
        let by_number = || BY_NUMBER.iter().find(|(first, _)| *first <= number).map_or(SpecId::FRONTIER, |(_, s)| *s);
        match by_number() {
            // Times count only after the merge: before it, a miner could have put any time into a block.
            SpecId::MERGE => BY_TIME
                .iter()
                .find(|(first, _)| *first <= timestamp)
                .map_or(Self { spec: SpecId::MERGE, blobs: None }, |(_, fork)| *fork),
            spec => Self { spec, blobs: None },
        }
    }

    /// The virtual machine's configuration under these rules: mainnet's chain id, this fork's gas and blob limits.
    pub fn cfg(&self) -> CfgEnv {
        let mut cfg = CfgEnv::new_with_spec(self.spec).with_chain_id(MAINNET);
        cfg.max_blobs_per_tx = self.blobs.map(|blobs| blobs.max_per_tx);
        cfg.blob_base_fee_update_fraction = self.blobs.map(|blobs| blobs.fraction);
        cfg
    }

    /// Whether these rules contain those of `spec`.
    pub fn has(&self, spec: SpecId) -> bool {
        self.spec.is_enabled_in(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_begin_at_their_block_or_time() {
        for (number, time, spec) in [
            (0, 0, SpecId::FRONTIER),
            (1_149_999, 0, SpecId::FRONTIER),
            (1_150_000, 0, SpecId::HOMESTEAD),
            (12_964_999, u64::MAX, SpecId::BERLIN),
            (15_537_393, u64::MAX, SpecId::LONDON),
            (15_537_394, 1_663_224_179, SpecId::MERGE),
            (17_034_870, 1_681_338_455, SpecId::SHANGHAI),
            (19_426_587, 1_710_338_135, SpecId::CANCUN),
            (22_431_084, 1_746_612_311, SpecId::PRAGUE),
            (23_935_694, 1_764_798_551, SpecId::OSAKA),
            (u64::MAX, u64::MAX, SpecId::OSAKA),
        ] {
            assert_eq!(Fork::mainnet(number, time).spec, spec, "block {number} at {time}");
        }
    }

    #[test]
    fn blobs_come_with_cancun_and_grow() {
        let blobs = |time| Fork::mainnet(20_000_000, time).blobs.map(|b| (b.max_per_tx, b.fraction));
        assert_eq!(blobs(1_710_338_134), None);
        assert_eq!(blobs(1_710_338_135), Some((6, 3_338_477)));
        assert_eq!(blobs(1_746_612_311), Some((9, 5_007_716)));
        assert_eq!(blobs(1_764_798_551), Some((6, 5_007_716)));
        assert_eq!(blobs(1_765_290_071), Some((6, 8_346_193)));
        assert_eq!(blobs(u64::MAX), Some((6, 11_684_671)));
    }
}
