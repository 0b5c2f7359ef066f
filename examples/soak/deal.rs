//! What is dealt from a seed: a state, a block over it, how the block ends, and what is done with the stores after it.
//!
//! Nothing else goes into it, so that a block can be executed again by itself, years later.

use crate::machine::{Deed, Then};
use crate::oracle::State;
use crate::script::{self, Key, Script, Side, Step, Value};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::ops::Bound;
use std::time::Duration;

/// The key at which every state has the checksum of the rest of it. Transactions see it as any other.
pub const MARK: Key = 0;

/// What ends a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its last transaction, or one that fails.
    Itself,
    /// The hook stops it after a transaction.
    Stopped(u32),
    /// The hook calls it off at a transaction.
    CancelledAt(u32),
    /// Somebody else calls it off.
    CancelledAfter(Duration),
    Deadline(Duration),
}

/// What is done with the stores.
#[derive(Clone, Copy, Debug)]
pub enum Upkeep {
    FlushTop,
    FlushLow,
    /// The commit at the bottom fails, before it takes effect or after.
    FailToFlush {
        took_effect: bool,
    },
    DiscardTop,
    DiscardAll,
    RefreshTop,
}

#[derive(Clone, Debug)]
pub struct Dealt {
    pub keys: Key,
    pub state: State,
    pub block: Vec<Deed>,
    pub hints: Option<Vec<Vec<Key>>>,
    pub end: End,
    pub threads: usize,
    /// Whether it is executed over the file.
    pub on_disk: bool,
    pub upkeep: Vec<Upkeep>,
}

impl Dealt {
    /// Whether a hook looks at every commit. Where none does, what committed operands come to is kept back from their chains.
    pub fn is_watched(&self) -> bool {
        self.hints.is_none() || matches!(self.end, End::Stopped(_) | End::CancelledAt(_))
    }
}

/// The seed after `seed` (SplitMix64).
pub fn next_seed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Draws from the strategies of the tests, always the same from one seed.
struct Draw(TestRunner);

impl Draw {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        for (at, chunk) in bytes.chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&next_seed(seed ^ at as u64).to_le_bytes());
        }
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self(TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng))
    }

    fn one<T: std::fmt::Debug>(&mut self, strategy: impl Strategy<Value = T>) -> T {
        strategy.new_tree(&mut self.0).expect("no strategy here rejects anything").current()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.one(0..bound)
    }

    /// True once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

pub fn deal(seed: u64, most_threads: usize) -> Dealt {
    let mut draw = Draw::new(seed);
    let keys = draw.one(prop_oneof![2 => Just(4), 3 => Just(30), 2 => Just(300), 1 => Just(3000)]);
    let state = draw.one(prop::collection::btree_map(1..keys, 0..script::CAP, 0..keys as usize));
    let len = draw.one(prop_oneof![1 => 0..8usize, 4 => 8..60usize, 1 => 60..300usize]);
    let scripts = draw.one(scripts(keys, len));
    let failing = draw.once_in(6);
    let deed = |script| {
        let then = if failing && draw.once_in(12) { Then::failing(draw.below(64)) } else { Then::Nothing };
        Deed { script, then }
    };
    let mut block: Vec<Deed> = scripts.into_iter().map(deed).collect();
    let end = end(&mut draw, block.len());
    if let (End::CancelledAfter(_) | End::Deadline(_), true, Some(at)) =
        (end, draw.once_in(2), draw.below(len.max(1) as u64).checked_sub(1))
        && let Some(deed) = block.get_mut(at as usize)
    {
        deed.then = Then::Loop;
    }
    let hints = draw.once_in(3).then(|| hints(&block, if draw.once_in(2) { 0 } else { 1 }));
    let upkeep = draw.one(prop::collection::vec(upkeep(), 0..4));
    Dealt {
        keys,
        state,
        block,
        hints,
        end,
        threads: 1 + draw.below(most_threads as u64) as usize,
        on_disk: draw.once_in(2),
        upkeep,
    }
}

fn end(draw: &mut Draw, len: usize) -> End {
    let (kind, at) = (draw.below(20), draw.below(len.max(1) as u64) as u32);
    let short = Duration::from_micros(draw.below(3000));
    match kind {
        0 => End::Stopped(at),
        1 => End::CancelledAt(at),
        2 => End::CancelledAfter(short),
        3 => End::Deadline(short),
        _ => End::Itself,
    }
}

fn upkeep() -> impl Strategy<Value = Upkeep> {
    prop_oneof![
        6 => Just(Upkeep::FlushTop),
        4 => Just(Upkeep::FlushLow),
        2 => any::<bool>().prop_map(|took_effect| Upkeep::FailToFlush { took_effect }),
        1 => Just(Upkeep::DiscardTop),
        1 => Just(Upkeep::DiscardAll),
        1 => Just(Upkeep::RefreshTop),
    ]
}

/// The scripts of a block: all of one kind, or of every kind.
fn scripts(keys: Key, len: usize) -> BoxedStrategy<Vec<Script>> {
    let kinds = [mixture(keys), transfers(keys), hot(keys), ranges(keys), savepoints(keys)];
    let [a, b, c, d, e] = kinds.clone();
    let every = prop_oneof![a, b, c, d, e].boxed();
    let kind = prop_oneof![
        3 => prop::sample::select(kinds.to_vec()),
        2 => Just(every),
    ];
    kind.prop_flat_map(move |kind| prop::collection::vec(kind, len)).boxed()
}

/// Whatever the tests of the executor do.
fn mixture(keys: Key) -> BoxedStrategy<Script> {
    prop::collection::vec(script::step(keys), 1..9).boxed()
}

/// Two keys are read, two are written.
fn transfers(keys: Key) -> BoxedStrategy<Script> {
    (0..keys, 0..keys).prop_map(|(a, b)| vec![Step::Get(a), Step::Get(b), Step::Set(a), Step::Set(b)]).boxed()
}

/// Everybody adds to one key; few look at it.
fn hot(keys: Key) -> BoxedStrategy<Script> {
    prop_oneof![
        8 => (-9..20i64).prop_map(|operand| vec![Step::Merge(1, operand)]),
        2 => (0..keys, -9..20i64).prop_map(|(key, operand)| vec![Step::Set(key), Step::Merge(1, operand), Step::Yield]),
        1 => (0..keys).prop_map(|key| vec![Step::Get(1), Step::Merge(2, 5), Step::Set(key)]),
    ]
    .boxed()
}

/// Long walks, range deletes, and keys that appear and go where the others walk.
fn ranges(keys: Key) -> BoxedStrategy<Script> {
    let walk =
        (0..keys, 0..keys, 0..120usize, any::<bool>(), any::<bool>()).prop_map(|(from, to, steps, values, back)| {
            let sides = vec![if back { Side::Back } else { Side::Front }; steps];
            let (from, to) = (Bound::Included(from.min(to)), Bound::Excluded(from.max(to)));
            Step::Walk { from, to, sides, values, meddle: script::Meddle::Nothing }
        });
    let few = (0..keys, 1..9 as Key).prop_map(|(from, len)| Step::DeleteRange(from, from.saturating_add(len)));
    prop_oneof![
        4 => (walk.clone(), Just(Step::SetNamed)).prop_map(|(walk, set)| vec![walk, set]),
        1 => (walk, few).prop_map(|(walk, few)| vec![walk, few]),
        2 => (0..keys).prop_map(|key| vec![Step::GetNamed, Step::SetOrDelete(key), Step::SetNamed]),
    ]
    .boxed()
}

/// Savepoints in savepoints, rolled back or released as what was read says.
fn savepoints(keys: Key) -> BoxedStrategy<Script> {
    let within = prop::collection::vec((0..keys, script::step(keys)), 1..6);
    within
        .prop_map(|steps| {
            let depth = steps.len();
            let opened = steps.into_iter().flat_map(|(key, step)| [Step::Savepoint, step, Step::Get(key)]);
            opened.chain((0..depth).map(|_| Step::Settle)).collect()
        })
        .boxed()
}

/// The keys that each script names as written, or, shifted, others.
fn hints(block: &[Deed], shift: Key) -> Vec<Vec<Key>> {
    let written = |step: &Step| match step {
        Step::Set(key) | Step::SetOrDelete(key) | Step::Delete(key) | Step::Merge(key, _) => Some(key + shift),
        _ => None,
    };
    block.iter().map(|deed| deed.script.iter().filter_map(written).collect()).collect()
}

/// The checksum of a state, of 40 bits: a number far above what scripts make.
pub fn checksum<'a>(entries: impl IntoIterator<Item = (&'a Key, &'a Value)>) -> Value {
    let rest = entries.into_iter().filter(|(key, _)| **key != MARK);
    let sum = rest.fold(1, |sum, (key, value)| script::mix(script::mix(sum, u64::from(*key)), *value));
    (1 << 40) | (sum >> 24)
}

/// `state` with its mark.
pub fn marked(mut state: State) -> State {
    let mark = checksum(&state);
    state.insert(MARK, mark);
    state
}
