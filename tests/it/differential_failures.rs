//! Blocks with failures in them, in parallel against sequential execution: the same cause, the same prefix.
//!
//! Which transactions fail depends on what they read, so that a stale run fails where a real one does not.

use crate::acts::*;
use cachekv::executor::{BlockExecutor, Cause, Options, execute_sequentially};
use cachekv::multiversion::ViewError;
use proptest::prelude::*;
use std::sync::LazyLock;

#[derive(Clone, Debug)]
enum Part {
    Get(Key),
    Add(Key, i64),
    Set(Key),
    Count(Key),
    /// Fails if what was read so far has this remainder.
    ErrIf(i64),
    PanicIf(i64),
    /// Merges, and fails if that is done.
    ErrIfMerged(Key, i64),
    Yield,
}

fn part() -> impl Strategy<Value = Part> {
    let key = 0u32..4;
    prop_oneof![
        4 => key.clone().prop_map(Part::Get),
        4 => (key.clone(), -8i64..8).prop_map(|(key, operand)| Part::Add(key, operand)),
        4 => key.clone().prop_map(Part::Set),
        2 => key.clone().prop_map(Part::Count),
        1 => (0i64..40).prop_map(Part::ErrIf),
        1 => (0i64..40).prop_map(Part::PanicIf),
        1 => (key, -60i64..-20).prop_map(|(key, operand)| Part::ErrIfMerged(key, operand)),
        2 => Just(Part::Yield),
    ]
}

fn run(parts: &[Part], view: &View<'_>) -> Answer {
    let mut sum = Value::from(view.index());
    for part in parts {
        match part {
            Part::Get(key) => sum = sum * 3 + of(view.get(key)?),
            Part::Add(key, operand) => match view.merge(*key, *operand) {
                Ok(()) => {}
                Err(ViewError::Refused { .. }) => sum = sum * 3 + 1,
                Err(error) => return Err(error.into()),
            },
            Part::Set(key) => view.set(*key, sum.rem_euclid(50)),
            Part::Count(key) => {
                sum = sum * 3 + view.keys(key..).map(|key| key.map(Value::from)).sum::<Result<Value, _>>()?
            }
            Part::ErrIf(rest) if sum.rem_euclid(40) == *rest => return Err(Failure::Own("it has that remainder")),
            Part::PanicIf(rest) => assert_ne!(sum.rem_euclid(40), *rest, "it has that remainder"),
            Part::ErrIfMerged(key, operand) => match view.merge(*key, *operand) {
                Ok(()) => return Err(Failure::Own("it was merged")),
                Err(ViewError::Refused { .. }) => sum += 5,
                Err(error) => return Err(error.into()),
            },
            Part::ErrIf(_) => {}
            Part::Yield => std::thread::yield_now(),
        }
        sum %= 1_000_000_007;
    }
    Ok(vec![sum])
}

static EXECUTORS: LazyLock<Vec<BlockExecutor>> = LazyLock::new(|| {
    let begin_sequentially = [1, 300, 3_000, u64::MAX].map(|nanoseconds| sharing_from(2, nanoseconds));
    [1, 2, 4, 8].map(sharing).into_iter().chain(begin_sequentially).collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_same_failure_after_the_same_prefix(
        parts in prop::collection::vec(prop::collection::vec(part(), 1..7), 1..30),
        entries in prop::collection::btree_map(0u32..4, 0i64..40, 0..4),
    ) {
        let entries: Vec<_> = entries.into_iter().collect();
        let block: Vec<Act> = parts.iter().cloned().map(|parts| act(move |view| run(&parts, view))).collect();
        let told = |done: Result<Output, (Cause<Failure>, Output)>| {
            let (cause, output) = match done {
                Ok(output) => (None, output),
                Err((cause, output)) => (Some(cause), output),
            };
            (cause, output.outputs, output.batch, output.committed)
        };
        let plain = execute_sequentially(&base(&entries), &block, &Acts, None);
        let plain = told(plain.map_err(|error| (error.cause, error.committed)));
        for executor in EXECUTORS.iter() {
            let done = executor.execute_with(&base(&entries), &block, &Acts, Options::default());
            let done = told(done.map_err(|error| (error.cause, error.committed)));
            prop_assert_eq!(&done, &plain, "{:?}", executor);
        }
    }
}
