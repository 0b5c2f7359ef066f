//! Transactions that can be sent, that compute what they write from what they read; and an oracle over a `BTreeMap`, which
//! also tells what each of them touches.

use bytes::Bytes;
use cachekv::executor::Vm;
use cachekv::multiversion::{MergeOperator, TxView, ViewError};
use cachekv::remote::{Access, Coded};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

pub type Key = u16;
pub type Value = u64;
pub type State = BTreeMap<Key, Value>;

/// A value never exceeds this.
const CAP: u64 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Get(Key),
    /// Reads the key that the accumulator names.
    GetNamed,
    Contains(Key),
    Set(Key),
    SetNamed,
    Delete(Key),
    /// Adds, unless the sum is out of bounds.
    Add(Key, u16),
    Scan(Key, Key),
    ScanBack(Key, Key),
    /// Panics if the accumulator is a multiple of this.
    Panic(u16),
    /// Fails if the accumulator is a multiple of this.
    Fail(u16),
    /// Goes on to read for this many milliseconds.
    Linger(u16),
    /// Goes on to read until [`LET_GO`] is set.
    Hold,
}

/// Lets go of what holds. One test uses it.
pub static LET_GO: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script(pub Vec<Step>);

impl Step {
    fn code(self) -> (u8, u16, u16) {
        match self {
            Step::Get(key) => (0, key, 0),
            Step::GetNamed => (1, 0, 0),
            Step::Contains(key) => (2, key, 0),
            Step::Set(key) => (3, key, 0),
            Step::SetNamed => (4, 0, 0),
            Step::Delete(key) => (5, key, 0),
            Step::Add(key, operand) => (6, key, operand),
            Step::Scan(from, to) => (7, from, to),
            Step::ScanBack(from, to) => (8, from, to),
            Step::Panic(of) => (9, of, 0),
            Step::Fail(of) => (10, of, 0),
            Step::Linger(for_ms) => (11, for_ms, 0),
            Step::Hold => (12, 0, 0),
        }
    }

    fn of((op, a, b): (u8, u16, u16)) -> Option<Self> {
        Some(match op {
            0 => Step::Get(a),
            1 => Step::GetNamed,
            2 => Step::Contains(a),
            3 => Step::Set(a),
            4 => Step::SetNamed,
            5 => Step::Delete(a),
            6 => Step::Add(a, b),
            7 => Step::Scan(a, b),
            8 => Step::ScanBack(a, b),
            9 => Step::Panic(a),
            10 => Step::Fail(a),
            11 => Step::Linger(a),
            12 => Step::Hold,
            _ => return None,
        })
    }
}

impl Coded for Script {
    fn encode(&self) -> Bytes {
        let step = |step: &Step| {
            let (op, a, b) = step.code();
            let ([a0, a1], [b0, b1]) = (a.to_le_bytes(), b.to_le_bytes());
            [op, a0, a1, b0, b1]
        };
        self.0.iter().flat_map(step).collect()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        let step = |step: &[u8]| match *step {
            [op, a0, a1, b0, b1] => Step::of((op, u16::from_le_bytes([a0, a1]), u16::from_le_bytes([b0, b1]))),
            _ => None,
        };
        bytes.chunks(5).map(step).collect::<Option<_>>().map(Script)
    }
}

fn mix(acc: u64, seen: u64) -> u64 {
    (acc ^ seen.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(23).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

fn mix_option(acc: u64, seen: Option<Value>) -> u64 {
    seen.map_or(mix(acc, u64::MAX), |value| mix(acc, value))
}

fn named(acc: u64, keys: Key) -> Key {
    (acc >> 33) as Key % keys.max(1)
}

/// Adds, and refuses to go above the cap.
pub struct Capped;

impl MergeOperator<Key, Value> for Capped {
    type Operand = u16;
    fn merge(_: &Key, base: Option<&Value>, operand: &u16) -> Value {
        base.copied().unwrap_or(0) + u64::from(*operand)
    }
    fn admits(_: &Key, base: Option<&Value>, operand: &u16) -> bool {
        base.copied().unwrap_or(0) + u64::from(*operand) <= CAP
    }
}

/// Interprets scripts.
#[derive(Clone, Debug)]
pub struct Machine {
    pub keys: Key,
}

#[derive(Clone, Debug)]
pub enum Fault {
    View(ViewError),
    /// As the script says.
    Failed,
}

impl From<ViewError> for Fault {
    fn from(error: ViewError) -> Self {
        Fault::View(error)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::View(error) => error.fmt(f),
            Fault::Failed => f.write_str(PANIC),
        }
    }
}

pub const PANIC: &str = "as the script says";

impl Vm for Machine {
    type Key = Key;
    type Value = Value;
    type Merge = Capped;
    type Transaction = Script;
    type Output = u64;
    type Error = Fault;

    fn execute(&self, script: &Script, view: &TxView<'_, Key, Value, Capped>) -> Result<u64, Fault> {
        let mut acc = u64::from(view.index());
        for step in &script.0 {
            match *step {
                Step::Get(key) => acc = mix_option(acc, view.get(&key)?),
                Step::GetNamed => acc = mix_option(acc, view.get(&named(acc, self.keys))?),
                Step::Contains(key) => acc = mix(acc, u64::from(view.contains(&key)?)),
                Step::Set(key) => view.set(key, acc % CAP),
                Step::SetNamed => view.set(named(acc, self.keys), acc % CAP),
                Step::Delete(key) => view.delete(key),
                Step::Add(key, operand) => match view.merge(key, operand) {
                    Ok(()) => {}
                    Err(ViewError::Refused { .. }) => acc = mix(acc, 77),
                    Err(error) => return Err(error.into()),
                },
                Step::Scan(from, to) => {
                    for entry in view.range(from..to) {
                        let (key, value) = entry?;
                        acc = mix(mix(acc, key.into()), value);
                    }
                }
                Step::ScanBack(from, to) => {
                    for entry in view.range(from..to).rev() {
                        let (key, value) = entry?;
                        acc = mix(mix(acc, key.into()), value);
                    }
                }
                Step::Panic(of) if acc.is_multiple_of(of.into()) => panic!("{PANIC}"),
                Step::Fail(of) if acc.is_multiple_of(of.into()) => return Err(Fault::Failed),
                Step::Panic(_) | Step::Fail(_) => {}
                Step::Linger(for_ms) => {
                    let until = std::time::Instant::now() + std::time::Duration::from_millis(for_ms.into());
                    while std::time::Instant::now() < until {
                        view.check()?;
                        std::thread::yield_now();
                    }
                }
                Step::Hold => {
                    while !LET_GO.load(Ordering::Relaxed) {
                        view.check()?;
                        std::thread::yield_now();
                    }
                }
            }
        }
        Ok(acc)
    }
}

/// What a block comes to, and what each of its transactions touches on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub state: State,
    pub outputs: Vec<u64>,
    pub accesses: Vec<Access<Key>>,
    /// The first transaction that fails or panics.
    pub ends_at: Option<usize>,
}

pub fn oracle(state: &State, block: &[Script], keys: Key) -> Expected {
    let mut expected = Expected { state: state.clone(), outputs: vec![], accesses: vec![], ends_at: None };
    for (index, script) in block.iter().enumerate() {
        let mut touched = (BTreeSet::new(), BTreeSet::new());
        let mut after = expected.state.clone();
        let output = run(script, index as u64, &mut after, keys, &mut touched);
        let access = Access { reads: touched.0.into_iter().collect(), writes: touched.1.into_iter().collect() };
        expected.accesses.push(access);
        match output {
            Some(output) if expected.ends_at.is_none() => {
                expected.outputs.push(output);
                expected.state = after;
            }
            Some(_) => {}
            None => _ = expected.ends_at.get_or_insert(index),
        }
    }
    expected
}

fn run(
    script: &Script,
    index: u64,
    state: &mut State,
    keys: Key,
    touched: &mut (BTreeSet<Key>, BTreeSet<Key>),
) -> Option<u64> {
    let mut acc = index;
    for step in &script.0 {
        match *step {
            Step::Get(key) => {
                touched.0.insert(key);
                acc = mix_option(acc, state.get(&key).copied());
            }
            Step::GetNamed => {
                let key = named(acc, keys);
                touched.0.insert(key);
                acc = mix_option(acc, state.get(&key).copied());
            }
            Step::Contains(key) => {
                touched.0.insert(key);
                acc = mix(acc, state.contains_key(&key).into());
            }
            Step::Set(key) => {
                touched.1.insert(key);
                state.insert(key, acc % CAP);
            }
            Step::SetNamed => {
                touched.1.insert(named(acc, keys));
                state.insert(named(acc, keys), acc % CAP);
            }
            Step::Delete(key) => {
                touched.1.insert(key);
                state.remove(&key);
            }
            Step::Add(key, operand) => {
                touched.1.insert(key);
                let sum = state.get(&key).copied().unwrap_or(0) + u64::from(operand);
                if sum > CAP {
                    acc = mix(acc, 77);
                } else {
                    state.insert(key, sum);
                }
            }
            Step::Scan(from, to) | Step::ScanBack(from, to) => {
                touched.0.extend(from..to);
                let mut entries: Vec<_> = if from < to { state.range(from..to).collect() } else { vec![] };
                if matches!(step, Step::ScanBack(..)) {
                    entries.reverse();
                }
                for (key, value) in entries {
                    acc = mix(mix(acc, u64::from(*key)), *value);
                }
            }
            Step::Panic(of) | Step::Fail(of) if acc.is_multiple_of(u64::from(of)) => return None,
            Step::Panic(_) | Step::Fail(_) | Step::Linger(_) | Step::Hold => {}
        }
    }
    Some(acc)
}

/// Steps over `keys` keys.
fn step(keys: Key, fails: bool) -> impl Strategy<Value = Step> {
    let key = 0..keys;
    let odds = u32::from(fails);
    prop_oneof![
        5 => key.clone().prop_map(Step::Get),
        1 => Just(Step::GetNamed),
        1 => key.clone().prop_map(Step::Contains),
        5 => key.clone().prop_map(Step::Set),
        1 => Just(Step::SetNamed),
        1 => key.clone().prop_map(Step::Delete),
        2 => (key.clone(), 0..400u16).prop_map(|(key, operand)| Step::Add(key, operand)),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Step::Scan(from, to)),
        1 => (key.clone(), key).prop_map(|(from, to)| Step::ScanBack(from, to)),
        odds => prop_oneof![(2..40u16).prop_map(Step::Panic), (2..40u16).prop_map(Step::Fail)],
    ]
}

/// Blocks over `keys` keys, in some of which a transaction fails or panics.
pub fn block(keys: Key, len: std::ops::Range<usize>, fails: bool) -> impl Strategy<Value = Vec<Script>> {
    prop::collection::vec(prop::collection::vec(step(keys, fails), 1..7).prop_map(Script), len)
}

/// What a block is declared to touch: rightly, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hints {
    Right,
    /// And more than that.
    Generous,
    /// Some are missing.
    Missing,
    /// Some are wrong.
    Wrong,
    Empty,
}

pub fn hints() -> impl Strategy<Value = Hints> {
    prop_oneof![
        4 => Just(Hints::Right),
        2 => Just(Hints::Generous),
        2 => Just(Hints::Missing),
        1 => Just(Hints::Wrong),
        1 => Just(Hints::Empty),
    ]
}

pub fn declared(right: &[Access<Key>], hints: Hints, keys: Key, seed: u64) -> Vec<Access<Key>> {
    let mut random = seed | 1;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut change = |of: &[Key]| -> Vec<Key> {
        match hints {
            Hints::Right => of.to_vec(),
            Hints::Generous => of.iter().copied().chain((0..draw(3)).map(|_| draw(keys.into()) as Key)).collect(),
            Hints::Missing => of.iter().copied().filter(|_| draw(8) > 0).collect(),
            Hints::Wrong => of.iter().map(|key| if draw(4) == 0 { draw(keys.into()) as Key } else { *key }).collect(),
            Hints::Empty => vec![],
        }
    };
    right.iter().map(|access| Access { reads: change(&access.reads), writes: change(&access.writes) }).collect()
}
