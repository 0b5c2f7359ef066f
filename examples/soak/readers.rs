//! Readers: threads that take snapshots of every layer while blocks are executed, committed and flushed, look whether each
//! is a whole state by its mark, keep some, and look again whether those are as they were.

use crate::deal::{MARK, checksum};
use crate::script::{Key, Value};
use crate::stack::{Bottom, Low, Top};
use cachekv::kv::{DynIter, DynRead, KvRead, KvStore};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a reader reads.
#[derive(Clone)]
pub struct Layers {
    pub bottom: Bottom,
    pub low: Low,
    pub top: Top,
}

impl Layers {
    fn snapshot(&self, level: usize) -> Result<DynRead<Key, Value>, String> {
        let snapshot = match level % 3 {
            0 => self.top.snapshot().map(|snapshot| snapshot.into_dyn()),
            1 => self.low.snapshot().map(|snapshot| snapshot.into_dyn()),
            _ => self.bottom.snapshot().map(|snapshot| snapshot.into_dyn()),
        };
        snapshot.map_err(|error| error.to_string())
    }
}

/// A snapshot that is kept, and an iterator that has been walked half.
struct Held {
    state: DynRead<Key, Value>,
    entries: Vec<(Key, Value)>,
    walk: DynIter<Key, Value>,
    walked: usize,
}

/// How many snapshots a reader keeps.
const HELD: usize = 6;
/// How long it rests between two looks, to leave time for blocks.
const REST: Duration = Duration::from_millis(1);

/// Reads until `stop` says so; returns the number of snapshots looked at. Sets `stop` when it finds something wrong.
pub fn read(stacks: &[Layers], stop: &AtomicBool) -> Result<u64, String> {
    let mut held: VecDeque<Held> = VecDeque::new();
    for looks in 0.. {
        let looked = stacks.iter().try_for_each(|layers| {
            held.push_back(take(&layers.snapshot(looks as usize)?)?);
            if held.len() > HELD { held.pop_front().map_or(Ok(()), let_go) } else { Ok(()) }
        });
        // Relaxed: it carries nothing but itself.
        if looked.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        looked?;
        if stop.load(Ordering::Relaxed) {
            held.into_iter().try_for_each(let_go)?;
            return Ok((looks + 1) * stacks.len() as u64);
        }
        std::thread::sleep(REST);
    }
    Ok(0)
}

/// Looks at all of `state`, and keeps it.
fn take(state: &DynRead<Key, Value>) -> Result<Held, String> {
    let entries: Vec<(Key, Value)> = state.range(..).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let mark = entries.first().filter(|(key, _)| *key == MARK).map(|(_, mark)| *mark);
    let due = checksum(entries.iter().map(|(key, value)| (key, value)));
    if mark != Some(due) {
        return Err(format!(
            "a snapshot of {} entries with the mark {mark:?} and not {due} is no state",
            entries.len()
        ));
    }
    let (mut walk, walked) = (state.range(..), entries.len() / 2);
    if !walk.by_ref().take(walked).map(Result::ok).eq(entries.iter().copied().take(walked).map(Some)) {
        return Err("two walks over one snapshot differ".into());
    }
    Ok(Held { state: state.clone(), entries, walk, walked })
}

/// Looks again at what was kept.
fn let_go(held: Held) -> Result<(), String> {
    let Held { state, entries, walk, walked } = held;
    if !walk.map(Result::ok).eq(entries.iter().copied().skip(walked).map(Some)) {
        return Err("an iterator has changed since it was opened".into());
    }
    if !state.range(..).rev().map(Result::ok).eq(entries.iter().rev().copied().map(Some)) {
        return Err("a snapshot has changed since it was taken".into());
    }
    Ok(())
}
