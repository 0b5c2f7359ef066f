//! Transactions as lists of steps over one accumulator: every answer is mixed into it, and it decides what is written,
//! skipped and rolled back, and whether the transaction fails.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use cachekv::executor::Vm;
use cachekv::kv::KeyRange;
use cachekv::multiversion::{MergeOperator, Savepoint, TxIndex, TxView, ViewError};
use std::ops::Bound;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};

/// Few, so that transactions meet, and prefixes of each other, up to the last key of a prefix that has no next.
pub const KEYS: [&[u8]; 12] =
    [b"", b"\0", b"a", b"a\0", b"aa", b"aa\xff", b"ab", b"b", b"b\xff", b"b\xff\xff", b"\xff", b"\xff\xff"];

/// No merge takes a value beyond it.
const CAP: u64 = 100;

#[derive(Clone, Debug)]
pub enum Step {
    Get(Bytes),
    /// Goes on whatever the answer.
    GetSwallowed(Bytes),
    Contains(Bytes),
    Set(Bytes),
    /// Sets the key that the accumulator names.
    SetNamed,
    Delete(Bytes),
    Merge(Bytes, i64),
    Open(KeyRange<Bytes>, bool),
    Pull(usize, bool),
    Close(usize),
    DeleteRange(KeyRange<Bytes>),
    Savepoint,
    RollBack(usize),
    Release(usize),
    /// Skips so many steps if the accumulator is odd.
    SkipIfOdd(usize),
    /// Lets another thread go first.
    Yield,
    ErrIf(u64),
    PanicIf(u64),
}

pub type Script = Vec<Step>;
pub type View<'a> = TxView<'a, Bytes, u64, Bounded>;
type Open<'v> = Box<dyn DoubleEndedIterator<Item = std::result::Result<(Bytes, Option<u64>), ViewError>> + 'v>;

/// What a transaction stops the block with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    View(String),
    Own,
}

impl From<ViewError> for Fault {
    fn from(error: ViewError) -> Self {
        Fault::View(error.to_string())
    }
}

/// Adds, and refuses to leave `0..=CAP`. Operands of one sign combine: both are admitted exactly where their sum is.
pub struct Bounded;

impl MergeOperator<Bytes, u64> for Bounded {
    type Operand = i64;
    fn merge(_: &Bytes, base: Option<&u64>, operand: &i64) -> u64 {
        base.copied().unwrap_or(0).saturating_add_signed(*operand)
    }
    fn admits(_: &Bytes, base: Option<&u64>, operand: &i64) -> bool {
        base.copied().unwrap_or(0).checked_add_signed(*operand).is_some_and(|sum| sum <= CAP)
    }
    fn combine(_: &Bytes, earlier: &i64, later: &i64) -> Option<i64> {
        (earlier.signum() == later.signum()).then(|| earlier.saturating_add(*later))
    }
}

pub fn key(input: &mut Unstructured<'_>) -> Result<Bytes> {
    input.choose(&KEYS).map(|key| Bytes::from_static(key))
}

fn range(input: &mut Unstructured<'_>) -> Result<KeyRange<Bytes>> {
    if input.ratio(1, 3)? {
        return Ok(KeyRange::prefix(&key(input)?));
    }
    let mut bound = || {
        let key = key(input)?;
        Ok(input.choose(&[Bound::Included(&key), Bound::Excluded(&key), Bound::Unbounded])?.cloned())
    };
    Ok(KeyRange { start: bound()?, end: bound()? })
}

/// Whether scripts are to fail by themselves is for the block to say: one that fails early tests little.
fn step(input: &mut Unstructured<'_>, failing: bool) -> Result<Step> {
    let which = input.int_in_range(0..=if failing { 32 } else { 29 })?;
    Ok(match which {
        0..=3 => Step::Get(key(input)?),
        4 => Step::GetSwallowed(key(input)?),
        5..=6 => Step::Contains(key(input)?),
        7..=10 => Step::Set(key(input)?),
        11 => Step::SetNamed,
        12..=13 => Step::Delete(key(input)?),
        14..=17 => Step::Merge(key(input)?, i64::from(input.arbitrary::<i8>()?)),
        18..=19 => Step::Open(range(input)?, input.arbitrary()?),
        20..=23 => Step::Pull(input.int_in_range(0..=3)?, input.arbitrary()?),
        24 => Step::Close(input.int_in_range(0..=3)?),
        25 => Step::DeleteRange(range(input)?),
        26 => Step::Savepoint,
        27 => match input.arbitrary()? {
            true => Step::RollBack(input.int_in_range(0..=3)?),
            false => Step::Release(input.int_in_range(0..=3)?),
        },
        28 => Step::SkipIfOdd(input.int_in_range(1..=3)?),
        29 => Step::Yield,
        30..=31 => Step::ErrIf(input.int_in_range(0..=15)?),
        _ => Step::PanicIf(input.int_in_range(0..=15)?),
    })
}

pub fn script(input: &mut Unstructured<'_>, failing: bool) -> Result<Script> {
    let len = input.int_in_range(1..=10)?;
    (0..len).map(|_| step(input, failing)).collect()
}

/// What transactions met, in whichever run.
#[derive(Debug, Default)]
pub struct Met {
    pub refused: AtomicBool,
    pub range_deleted: AtomicBool,
    pub rolled_back: AtomicBool,
}

/// Executes scripts.
#[derive(Debug, Default)]
pub struct Interpreter {
    pub met: Met,
    /// Whether it takes two scripts of five for long ones, and the others for short; else it knows nothing of them.
    pub knows: bool,
}

/// One execution.
struct Run<'v> {
    acc: u64,
    open: Vec<Open<'v>>,
    savepoints: Vec<Savepoint>,
}

fn mix(acc: u64, seen: u64) -> u64 {
    (acc ^ seen.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(23).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

impl Run<'_> {
    fn see(&mut self, seen: impl IntoIterator<Item = u64>) {
        for seen in seen {
            self.acc = mix(self.acc, seen);
        }
    }

    fn value(&self) -> u64 {
        (self.acc >> 17) % CAP
    }
}

impl Vm for Interpreter {
    type Key = Bytes;
    type Value = u64;
    type Merge = Bounded;
    type Transaction = Script;
    type Output = u64;
    type Error = Fault;

    fn execute(&self, script: &Script, view: &View<'_>) -> std::result::Result<u64, Fault> {
        let mut run = Run { acc: u64::from(view.index()), open: Vec::new(), savepoints: Vec::new() };
        let mut at = 0;
        while let Some(step) = script.get(at) {
            at += 1;
            match step {
                Step::SkipIfOdd(steps) if run.acc & 1 == 1 => at += steps,
                Step::SkipIfOdd(_) => view.check()?,
                Step::ErrIf(rest) if run.acc % 16 == *rest => return Err(Fault::Own),
                Step::PanicIf(rest) if run.acc % 16 == *rest => resume_unwind(Box::new("as told")),
                Step::ErrIf(_) | Step::PanicIf(_) => {}
                Step::Yield => std::thread::yield_now(),
                step => self.step(step, view, &mut run)?,
            }
        }
        Ok(run.acc)
    }

    fn is_long(&self, index: TxIndex, _: &Script) -> Option<bool> {
        self.knows.then_some(index * 7 % 5 < 2)
    }
}

impl Interpreter {
    fn step<'v>(&self, step: &Step, view: &'v View<'_>, run: &mut Run<'v>) -> std::result::Result<(), ViewError> {
        match step {
            Step::Get(key) => run.see([view.get(key)?.unwrap_or(u64::MAX)]),
            Step::GetSwallowed(key) => match view.get(key) {
                Ok(value) => run.see(value),
                Err(_) => run.see([5]),
            },
            Step::Contains(key) => run.see([view.contains(key)?.into()]),
            Step::Set(key) => view.set(key.clone(), run.value()),
            Step::SetNamed => {
                let named = KEYS[(run.acc >> 33) as usize % KEYS.len()];
                view.set(Bytes::from_static(named), run.value());
            }
            Step::Delete(key) => view.delete(key.clone()),
            Step::Merge(key, operand) => match view.merge(key.clone(), *operand) {
                Err(ViewError::Refused { .. }) => {
                    self.met.refused.store(true, Ordering::Relaxed);
                    run.see([77]);
                }
                merged => merged?,
            },
            Step::DeleteRange(range) => {
                let deleted = view.delete_range(range.clone())?;
                self.met.range_deleted.fetch_or(deleted > 0, Ordering::Relaxed);
                run.see([deleted as u64]);
            }
            Step::Savepoint => run.savepoints.push(view.savepoint()),
            // One of several open ones: those within it are then closed, and say so when their turn comes.
            Step::RollBack(which) | Step::Release(which) if !run.savepoints.is_empty() => {
                let savepoint = run.savepoints.remove(which % run.savepoints.len());
                let closed = match step {
                    Step::RollBack(_) => view.roll_back(savepoint),
                    _ => view.release(savepoint),
                };
                self.met.rolled_back.fetch_or(closed.is_ok() && matches!(step, Step::RollBack(_)), Ordering::Relaxed);
                run.see([closed.is_ok().into()]);
            }
            _ => self.walk(step, view, run)?,
        }
        Ok(())
    }

    fn walk<'v>(&self, step: &Step, view: &'v View<'_>, run: &mut Run<'v>) -> std::result::Result<(), ViewError> {
        let open = run.open.len().max(1);
        match step {
            Step::Open(range, true) => {
                let entries = view.range(range.clone());
                run.open.push(Box::new(entries.map(|entry| entry.map(|(key, value)| (key, Some(value))))));
            }
            Step::Open(range, false) => {
                run.open.push(Box::new(view.keys(range.clone()).map(|key| key.map(|key| (key, None)))));
            }
            Step::Pull(which, back) => {
                let Some(iter) = run.open.get_mut(which % open) else { return Ok(()) };
                let entry = if *back { iter.next_back() } else { iter.next() };
                match entry.transpose()? {
                    None => run.see([13]),
                    Some((key, value)) => {
                        run.see(key.iter().map(|byte| u64::from(*byte)).chain([key.len() as u64]).chain(value));
                    }
                }
            }
            Step::Close(which) if !run.open.is_empty() => drop(run.open.swap_remove(which % open)),
            _ => {}
        }
        Ok(())
    }
}
