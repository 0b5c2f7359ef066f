//! One answer wherever a key lives: in the state before the block, in an earlier transaction's writes, read before, or in
//! the transaction's own writes. Writing under an open iterator is the case that tells layers apart.

use crate::acts::*;
use cachekv::executor::{Options, execute_sequentially};
use std::collections::BTreeMap;

/// Where a key lives.
#[derive(Clone, Copy, Debug)]
enum Layer {
    Base,
    Earlier,
    ReadBefore,
    /// In an earlier transaction's writes, over another value before the block.
    Over,
    Own,
}

const LAYERS: [Layer; 5] = [Layer::Base, Layer::Earlier, Layer::ReadBefore, Layer::Over, Layer::Own];
const KEYS: std::ops::Range<Key> = 1..7;

fn value(key: Key) -> Value {
    Value::from(key) * 10
}

/// Runs `test` over keys 1 to 6, each in its layer, and expects `answer` and `after`.
fn placed(
    layer: fn(usize, Key) -> Layer,
    shift: usize,
    test: fn(&View<'_>) -> Answer,
) -> (Answer, BTreeMap<Key, Value>) {
    let place = move |key| layer(shift, key);
    let entries: Vec<_> = KEYS
        .filter_map(|key| match place(key) {
            Layer::Base | Layer::ReadBefore => Some((key, value(key))),
            Layer::Over => Some((key, -5)),
            Layer::Earlier | Layer::Own => None,
        })
        .collect();
    let block = |tested: Signal| -> Vec<Act> {
        let raise = tested.clone();
        vec![
            act(move |view| {
                for key in KEYS.filter(|key| matches!(place(*key), Layer::Earlier | Layer::Over)) {
                    view.set(key, value(key));
                }
                Ok(vec![])
            }),
            act(move |_| {
                tested.wait(); // so that the one below runs before everything before it is committed
                Ok(vec![])
            }),
            act(move |view| {
                for key in KEYS {
                    match place(key) {
                        Layer::ReadBefore => assert_eq!(view.get(&key)?, Some(value(key))),
                        Layer::Own => view.set(key, value(key)),
                        _ => {}
                    }
                }
                let answer = test(view);
                raise.raise();
                answer
            }),
        ]
    };
    let raised = Signal::default();
    raised.raise();
    let one = execute_sequentially(&base(&entries), &block(raised), &Acts, None).unwrap();
    let done = TWO.execute_with(&base(&entries), &block(Signal::default()), &Acts, Options::default()).unwrap();
    assert_eq!((&one.outputs, &one.batch), (&done.outputs, &done.batch));
    assert_eq!(done.stats.executions, 3, "nothing changed below: {:?}", done.stats);
    let mut state: BTreeMap<_, _> = entries.into_iter().collect();
    for (key, op) in done.batch {
        match op.into_value() {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    (Ok(done.outputs[2].clone()), state)
}

/// Keys all in one layer, and in all layers at once, in every rotation.
fn everywhere(test: fn(&View<'_>) -> Answer, answer: &[Value], after: &[Key]) {
    for shift in 0..LAYERS.len() {
        for layer in [(|shift, _| LAYERS[shift]) as fn(usize, Key) -> Layer, |shift, key| {
            LAYERS[(shift + key as usize) % LAYERS.len()]
        }] {
            let (got, state) = placed(layer, shift, test);
            assert_eq!(got.unwrap(), answer, "keys from {:?}", layer(shift, 1));
            assert_eq!(state.into_keys().collect::<Vec<_>>(), after, "keys from {:?}", layer(shift, 1));
        }
    }
}

#[test]
fn a_walk_yields_every_key_once_in_order() {
    everywhere(
        |view| view.range(..).map(|entry| Ok(entry?.1)).collect(),
        &[10, 20, 30, 40, 50, 60],
        &[1, 2, 3, 4, 5, 6],
    );
    everywhere(
        |view| view.keys(..).rev().map(|key| Ok(key?.into())).collect(),
        &[6, 5, 4, 3, 2, 1],
        &[1, 2, 3, 4, 5, 6],
    );
}

#[test]
fn deleting_the_key_one_stands_on_skips_nothing() {
    everywhere(
        |view| {
            let mut seen = Vec::new();
            for entry in view.range(..) {
                let (key, value) = entry?;
                seen.push(value);
                view.delete(key);
            }
            Ok(seen)
        },
        &[10, 20, 30, 40, 50, 60],
        &[],
    );
    everywhere(
        |view| {
            let mut seen = Vec::new();
            for key in view.keys(..).rev() {
                let key = key?;
                seen.push(key.into());
                view.delete(key);
            }
            Ok(seen)
        },
        &[6, 5, 4, 3, 2, 1],
        &[],
    );
}

#[test]
fn deleting_a_key_ahead_does_not_show_in_an_open_iterator() {
    everywhere(
        |view| {
            let mut seen = Vec::new();
            for entry in view.range(..) {
                let (key, value) = entry?;
                seen.push(value);
                view.delete(key + 1);
            }
            Ok(seen)
        },
        &[10, 20, 30, 40, 50, 60],
        &[1],
    );
}

#[test]
fn setting_keys_ahead_does_not_show_in_an_open_iterator() {
    everywhere(
        |view| {
            let mut seen = Vec::new();
            for entry in view.range(2..) {
                let (key, value) = entry?;
                seen.push(value);
                view.set(key + 1, 0); // a walk that saw this would have no end
                view.set(key - 1, 0);
            }
            Ok(seen)
        },
        &[20, 30, 40, 50, 60],
        &[1, 2, 3, 4, 5, 6, 7],
    );
}

#[test]
fn an_iterator_opened_after_a_write_shows_it() {
    everywhere(
        |view| {
            view.delete(2);
            view.set(3, 0);
            view.set(9, 9);
            view.range(2..).map(|entry| Ok(entry?.1)).collect()
        },
        &[0, 40, 50, 60, 9],
        &[1, 3, 4, 5, 6, 9],
    );
}

#[test]
fn points_see_own_writes_under_an_open_iterator() {
    everywhere(
        |view| {
            let mut walk = view.range(..);
            let first = walk.next().transpose()?.map(|entry| entry.1);
            view.set(2, 7);
            view.delete(3);
            let points = [of(view.get(&2)?), of(view.get(&3)?)];
            let rest = walk.map(|entry| Ok(entry?.1)).collect::<Result<Vec<_>, Failure>>()?;
            Ok([vec![of(first)], points.to_vec(), rest].concat())
        },
        &[10, 7, -1, 20, 30, 40, 50, 60],
        &[1, 2, 4, 5, 6],
    );
}

#[test]
fn rolling_back_leaves_an_open_iterator_as_it_was() {
    everywhere(
        |view| {
            let savepoint = view.savepoint();
            view.set(2, 7);
            view.delete(3);
            let walk = view.range(..=4);
            view.roll_back(savepoint)?;
            let then = walk.map(|entry| Ok(entry?.1)).collect::<Result<Vec<_>, Failure>>()?;
            let now = view.range(..=4).map(|entry| Ok(entry?.1)).collect::<Result<Vec<_>, Failure>>()?;
            Ok([then, now].concat())
        },
        &[10, 7, 40, 10, 20, 30, 40],
        &[1, 2, 3, 4, 5, 6],
    );
}

#[test]
fn two_ends_meet_without_loss_or_repetition() {
    everywhere(
        |view| {
            let (mut walk, mut seen) = (view.range(..), Vec::new());
            while let Some(entry) = walk.next() {
                seen.push(entry?.1);
                if let Some(entry) = walk.next_back() {
                    seen.push(entry?.1);
                }
            }
            assert!(walk.next_back().is_none() && walk.next().is_none(), "a finished iterator stays finished");
            Ok(seen)
        },
        &[10, 60, 20, 50, 30, 40],
        &[1, 2, 3, 4, 5, 6],
    );
}

#[test]
fn nested_walks_do_not_disturb_each_other() {
    everywhere(
        |view| {
            let mut seen = Vec::new();
            for outer in view.keys(..3) {
                let outer = outer?;
                for inner in view.range(5..) {
                    seen.push(Value::from(outer) + inner?.1);
                }
            }
            Ok(seen)
        },
        &[51, 61, 52, 62],
        &[1, 2, 3, 4, 5, 6],
    );
}

#[test]
fn a_range_delete_takes_the_range_and_counts_it() {
    everywhere(
        |view| Ok(vec![view.delete_range(2..5)? as Value, view.delete_range(2..5)? as Value]),
        &[3, 0],
        &[1, 5, 6],
    );
}
