//! Whether two executions of a block agree, and if not, where they first do not.

use bytes::Bytes;
use cachekv::executor::BlockOutput;
use std::fmt::Debug;

/// What differs between `parallel` and `sequential`, in words; `None` if they agree.
pub(crate) fn difference<O: PartialEq + Debug>(
    parallel: &BlockOutput<Bytes, Bytes, O>,
    sequential: &BlockOutput<Bytes, Bytes, O>,
    name_key: impl Fn(&[u8]) -> String,
) -> Option<String> {
    let outputs = first_difference(parallel.outputs.iter(), sequential.outputs.iter())
        .map(|(at, ours, due)| format!("transaction {at} gave {} in parallel, {} sequentially", said(ours), said(due)));
    let writes = first_difference(parallel.batch.iter(), sequential.batch.iter()).map(|(_, ours, due)| {
        // Both are in key order: the smaller key is the one that the other side does not write.
        let key = [ours, due].into_iter().flatten().map(|(key, _)| key).min();
        let op = |batch: Option<(&Bytes, _)>| said(batch.filter(|(at, _)| Some(*at) == key).map(|(_, op)| op));
        let name = key.map_or_else(String::new, |key| name_key(key));
        format!("{name} is written as {} in parallel, {} sequentially", op(ours), op(due))
    });
    match (outputs, writes) {
        (None, None) => None,
        (outputs, writes) => Some(outputs.into_iter().chain(writes).collect::<Vec<_>>().join("; ")),
    }
}

fn said(thing: Option<impl Debug>) -> String {
    thing.map_or_else(|| "nothing".into(), |thing| format!("{thing:?}"))
}

/// The first place where two sequences differ, and what they have there.
fn first_difference<T: PartialEq>(
    mut ours: impl Iterator<Item = T>,
    mut due: impl Iterator<Item = T>,
) -> Option<(usize, Option<T>, Option<T>)> {
    let mut at = 0;
    loop {
        match (ours.next(), due.next()) {
            (None, None) => return None,
            (ours, due) if ours != due => return Some((at, ours, due)),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cachekv::executor::BlockStats;
    use cachekv::kv::{Op, WriteBatch};

    fn output(outputs: &[u8], writes: &[(&'static str, Op<&'static str>)]) -> BlockOutput<Bytes, Bytes, u8> {
        let ops = writes.iter().map(|(key, op)| {
            let op = op.value().map_or(Op::Delete, |value| Op::Put(Bytes::from(*value)));
            (Bytes::from(*key), op)
        });
        let batch: WriteBatch<_, _> = ops.collect();
        BlockOutput { outputs: outputs.to_vec(), batch, committed: 0, stats: BlockStats::default() }
    }

    fn words(ours: &BlockOutput<Bytes, Bytes, u8>, due: &BlockOutput<Bytes, Bytes, u8>) -> Option<String> {
        difference(ours, due, |key| key.escape_ascii().to_string())
    }

    #[test]
    fn equal_executions_have_no_difference() {
        let one = output(&[1, 2], &[("a", Op::Put("1")), ("b", Op::Delete)]);
        assert_eq!(words(&one, &one.clone()), None);
        assert_eq!(words(&output(&[], &[]), &output(&[], &[])), None);
    }

    #[test]
    fn the_first_difference_is_named() {
        let due = output(&[1, 2, 3], &[("a", Op::Put("1")), ("b", Op::Delete)]);
        let said = words(&output(&[1, 9, 9], &[("a", Op::Put("1")), ("b", Op::Delete)]), &due).unwrap();
        assert_eq!(said, "transaction 1 gave 9 in parallel, 2 sequentially");
        let said = words(&output(&[1, 2], &[("a", Op::Put("1")), ("b", Op::Put("2"))]), &due).unwrap();
        assert!(
            said.starts_with("transaction 2 gave nothing in parallel, 3 sequentially; b is written as Put("),
            "{said}"
        );
        assert!(said.ends_with("in parallel, Delete sequentially"), "{said}");
        let said =
            words(&output(&[1, 2, 3], &[("a", Op::Put("1")), ("aa", Op::Delete), ("b", Op::Delete)]), &due).unwrap();
        assert_eq!(said, "aa is written as Delete in parallel, nothing sequentially");
        let said = words(&output(&[1, 2, 3], &[("b", Op::Delete)]), &due).unwrap();
        assert_eq!(said, "a is written as nothing in parallel, Put(b\"1\") sequentially");
    }
}
