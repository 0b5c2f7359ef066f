//! Two cache layers over a store that fails when told, and maps of what each of the three must hold.

use crate::deal::{Upkeep, marked};
use crate::faulty::{Call, Faulty};
use crate::oracle::State;
use crate::script::{Key, Value};
use cachekv::cachekv::{DynStore, Store};
use cachekv::kv::{Error, KvRead, KvStore, Op, WriteBatch};
use std::sync::Arc;

pub type Bottom = Arc<Faulty<DynStore<Key, Value>>>;
pub type Low = Arc<Store<Bottom>>;
pub type Top = Arc<Store<Low>>;

pub struct Stack {
    pub bottom: Bottom,
    pub low: Low,
    pub top: Top,
    /// What they must show: the bottom, the lower layer, the upper one.
    models: [State; 3],
    /// Flushes that failed, as they were to.
    pub failed: u64,
}

fn said(error: Error) -> String {
    error.to_string()
}

fn batch_between(from: &State, to: &State) -> WriteBatch<Key, Value> {
    let gone = from.keys().filter(|key| !to.contains_key(key)).map(|key| (*key, Op::Delete));
    let new = to.iter().filter(|(key, value)| from.get(key) != Some(value)).map(|(key, value)| (*key, Op::Put(*value)));
    gone.chain(new).collect()
}

impl Stack {
    /// Layers over `store`, which must hold `state`; an empty one is given it.
    pub fn new(store: DynStore<Key, Value>, state: State) -> Result<Self, String> {
        let found = store.snapshot().map_err(said)?;
        if found.range(..).next().is_none() {
            store.commit(batch_between(&State::new(), &state)).map_err(said)?;
        }
        let bottom = Arc::new(Faulty::new(store));
        let low = Arc::new(Store::new(Arc::clone(&bottom)).map_err(said)?);
        let top = Arc::new(Store::new(Arc::clone(&low)).map_err(said)?);
        let stack = Self { bottom, low, top, models: [state.clone(), state.clone(), state], failed: 0 };
        stack.compare("when it was opened")?;
        Ok(stack)
    }

    /// What the bottom must hold: all that outlives the stack.
    pub fn durable(&self) -> &State {
        &self.models[0]
    }

    /// Makes the uppermost state `state`, with its mark, by one batch.
    pub fn lay(&mut self, state: State) -> Result<(), String> {
        let state = marked(state);
        self.top.commit(batch_between(&self.models[2], &state)).map_err(said)?;
        self.models[2] = state;
        Ok(())
    }

    /// Applies what a block wrote. With it comes the mark of the state that it has to make: whether it does is to be seen.
    pub fn commit(&mut self, mut batch: WriteBatch<Key, Value>, state: State) -> Result<(), String> {
        let state = marked(state);
        if let Some(mark) = state.get(&crate::deal::MARK) {
            batch.put(crate::deal::MARK, *mark);
        }
        self.top.commit(batch).map_err(said)?;
        self.models[2] = state;
        Ok(())
    }

    /// Does what `upkeep` says, and notes what it must come to.
    pub fn keep_up(&mut self, upkeep: Upkeep) -> Result<(), String> {
        match upkeep {
            Upkeep::FlushTop => {
                self.top.flush().map_err(said)?;
                self.models[1] = self.models[2].clone();
            }
            Upkeep::FlushLow => {
                self.low.flush().map_err(said)?;
                self.models[0] = self.models[1].clone();
            }
            Upkeep::FailToFlush { took_effect } => self.fail_to_flush(took_effect)?,
            Upkeep::DiscardTop => {
                self.top.discard().map_err(said)?;
                self.models[2] = self.models[1].clone();
            }
            Upkeep::DiscardAll => {
                self.top.discard().map_err(said)?;
                self.low.discard().map_err(said)?;
                self.top.refresh().map_err(said)?;
                self.models = [self.models[0].clone(), self.models[0].clone(), self.models[0].clone()];
            }
            Upkeep::RefreshTop => self.top.refresh().map_err(said)?,
        }
        Ok(())
    }

    fn fail_to_flush(&mut self, took_effect: bool) -> Result<(), String> {
        if !self.low.is_dirty() {
            return Ok(()); // it would not commit anything
        }
        if took_effect {
            self.bottom.lose(1)
        } else {
            self.bottom.fail(Call::Commit, 1)
        }
        match self.low.flush() {
            Err(Error::Commit { .. }) => self.failed += 1,
            other => return Err(format!("a flush whose commit failed came to {other:?}")),
        }
        if took_effect {
            self.models[0] = self.models[1].clone();
        }
        Ok(())
    }

    /// Every one of the three shows what it must, forth and back.
    pub fn compare(&self, when: &str) -> Result<(), String> {
        let [bottom, low, top] = &self.models;
        compare(&self.bottom.snapshot().map_err(said)?, bottom).map_err(|what| format!("the bottom {when}: {what}"))?;
        compare(&self.low.snapshot().map_err(said)?, low).map_err(|what| format!("the lower layer {when}: {what}"))?;
        compare(&self.top.snapshot().map_err(said)?, top).map_err(|what| format!("the upper layer {when}: {what}"))
    }
}

fn compare(shown: &impl KvRead<Key = Key, Value = Value>, due: &State) -> Result<(), String> {
    let forth: Vec<_> = shown.range(..).collect::<Result<_, _>>().map_err(said)?;
    let back: Vec<_> = shown.range(..).rev().collect::<Result<_, _>>().map_err(said)?;
    let mut entries = due.iter().map(|(key, value)| (*key, *value));
    if !forth.iter().copied().eq(entries.by_ref()) {
        let differs = forth.iter().find(|(key, value)| due.get(key) != Some(value));
        return Err(format!("{} entries and not {}; the first wrong one is {differs:?}", forth.len(), due.len()));
    }
    if !back.iter().rev().eq(forth.iter()) {
        return Err("it is not the same backwards".into());
    }
    // Some keys by themselves, there or not.
    for key in due.keys().copied().step_by(7).chain((1..50).step_by(5)) {
        let value = shown.get(&key).map_err(said)?;
        if value.as_ref() != due.get(&key) || shown.contains(&key).map_err(said)? != value.is_some() {
            return Err(format!("key {key} is {value:?} and not {:?}", due.get(&key)));
        }
    }
    Ok(())
}
