//! The oracle for blocks: sequential execution over a `BTreeMap`, by code of its own.

use crate::script::{CAP, Key, Meddle, Output, Script, Side, Step, Value, ahead, mix, mix_option, named, value_of};
use std::collections::BTreeMap;
use std::ops::Bound;

pub type State = BTreeMap<Key, Value>;

/// What a block comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub state: State,
    pub outputs: Vec<Output>,
    /// The state after each transaction, for hooks and prefixes.
    pub after: Vec<State>,
}

pub fn execute(state: &State, block: &[Script], keys: Key) -> Expected {
    let mut state = state.clone();
    let mut after = Vec::new();
    let outputs = block.iter().enumerate().map(|(index, script)| {
        let output = run(&mut state, script, index as u64, keys);
        after.push(state.clone());
        output
    });
    let outputs = outputs.collect();
    Expected { state, outputs, after }
}

fn run(state: &mut State, script: &Script, index: u64, keys: Key) -> Output {
    let mut acc = index;
    let mut saved: Vec<State> = Vec::new();
    let mut at = 0;
    while at < script.len() {
        let step = &script[at];
        at += 1;
        match step {
            Step::Yield => {}
            Step::SkipIfOdd(steps) => at += if acc % 2 == 1 { *steps } else { 0 },
            Step::Get(key) => acc = mix_option(acc, state.get(key).copied()),
            Step::GetNamed => acc = mix_option(acc, state.get(&named(acc, keys)).copied()),
            Step::Contains(key) => acc = mix(acc, state.contains_key(key).into()),
            Step::Set(key) => drop(state.insert(*key, value_of(acc))),
            Step::SetNamed => drop(state.insert(named(acc, keys), value_of(acc))),
            Step::SetOrDelete(key) if acc & 2 == 0 => drop(state.insert(*key, value_of(acc))),
            Step::SetOrDelete(key) | Step::Delete(key) => drop(state.remove(key)),
            Step::Merge(key, operand) => {
                let sum = state.get(key).copied().unwrap_or(0) as i64 + operand;
                match u64::try_from(sum) {
                    Ok(sum) if sum <= CAP => drop(state.insert(*key, sum)),
                    _ => acc = mix(acc, 77),
                }
            }
            Step::DeleteRange(from, to) => {
                let before = state.len();
                state.retain(|key, _| !(from..to).contains(&key));
                acc = mix(acc, (before - state.len()) as u64);
            }
            Step::Savepoint => saved.push(state.clone()),
            Step::RollBack => {
                if let Some(before) = saved.pop() {
                    *state = before;
                }
            }
            Step::Release => drop(saved.pop()),
            Step::Settle => match saved.pop() {
                Some(before) if acc % 2 == 1 => *state = before,
                _ => {}
            },
            Step::Walk { from, to, sides, values, meddle } => {
                acc = walk(state, (*from, *to), sides, *values, *meddle, acc, keys);
            }
        }
    }
    acc
}

/// Walks what was there when the walk began.
fn walk(
    state: &mut State,
    bounds: (Bound<Key>, Bound<Key>),
    sides: &[Side],
    values: bool,
    meddle: Meddle,
    mut acc: u64,
    keys: Key,
) -> u64 {
    let inside = |key: &Key| {
        (match bounds.0 {
            Bound::Unbounded => true,
            Bound::Included(from) => *key >= from,
            Bound::Excluded(from) => *key > from,
        }) && (match bounds.1 {
            Bound::Unbounded => true,
            Bound::Included(to) => *key <= to,
            Bound::Excluded(to) => *key < to,
        })
    };
    let mut left: std::collections::VecDeque<_> =
        state.iter().filter(|(key, _)| inside(key)).map(|(key, value)| (*key, *value)).collect();
    for side in sides {
        let next = match side {
            Side::Front => left.pop_front(),
            Side::Back => left.pop_back(),
        };
        let Some((key, value)) = next else {
            acc = mix(acc, 13);
            continue;
        };
        acc = mix_option(mix(acc, u64::from(key)), values.then_some(value));
        let ahead = ahead(key, *side, keys);
        match meddle {
            Meddle::Nothing => {}
            Meddle::DeleteHere => drop(state.remove(&key)),
            Meddle::SetHere => drop(state.insert(key, value_of(acc))),
            Meddle::DeleteAhead => drop(state.remove(&ahead)),
            Meddle::SetAhead => drop(state.insert(ahead, value_of(acc))),
            Meddle::ReadAhead => acc = mix_option(acc, state.get(&ahead).copied()),
        }
    }
    acc
}

/// The operator is part of what is tested; the oracle has its own arithmetic above.
#[test]
fn the_operator_does_what_the_oracle_does() {
    use crate::script::Bounded;
    use cachekv::multiversion::MergeOperator;
    assert_eq!(Bounded::merge(&0, Some(&5), &-3), 2);
    assert!(Bounded::admits(&0, Some(&5), &-5) && !Bounded::admits(&0, Some(&5), &-6));
    assert!(Bounded::admits(&0, None, &(CAP as i64)) && !Bounded::admits(&0, Some(&1), &(CAP as i64)));
}
