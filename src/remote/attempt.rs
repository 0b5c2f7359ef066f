//! From a block and its declarations to what the shards are told, and from what they say back to the block's output.

use super::base::Guarded;
use super::coded::Coded;
use super::coordinator::{Attempt, Reply, Routes, Share};
use super::machine::RemoteVm;
use super::message::{self, Begin, BlockKey, Done, Executed, Own, ToShard};
use super::partition::{Access, Partition};
use super::shard::MOST_PUSHED;
use super::transport::Peer;
use crate::executor::{BlockError, BlockOutput, BlockResult, Cause, Commit, OnCommit, execute_sequentially};
use crate::kv::{KvRead, KvStore, MemStore, Op};
use crate::multiversion::TxIndex;
use crate::sync::{Arc, AtomicBool};
use bytes::Bytes;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// How long an attempt may take, and how much of what it will read a shard gets before it asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) deadline: Instant,
    /// Keys an answer.
    pub(crate) keys: usize,
    /// Answers a share.
    pub(crate) answers: usize,
}

/// The attempt `key` at `block`, divided as `partition` says between `shards`, as many as it has parts.
pub(crate) fn plan<S, V>(
    key: BlockKey,
    snapshot: &S,
    block: &[V::Transaction],
    accesses: &[Access<V::Key>],
    partition: &Partition<V::Key>,
    shards: &[(usize, Peer)],
    Terms { deadline, keys, answers }: Terms,
) -> Attempt
where
    S: KvRead<Key = V::Key, Value = V::Value>,
    V: RemoteVm,
{
    let within = deadline.saturating_duration_since(Instant::now());
    let within = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
    let mut shares = Vec::new();
    for (part, (shard, peer)) in shards.iter().enumerate() {
        let places: Vec<_> = partition.places_of(part).collect();
        let Some(last) = places.last() else { continue };
        let own = places.iter().filter_map(|place| own::<V>(*place, block, accesses, partition));
        let mut reads = reads(&places, accesses);
        let prefetch = reads.split_off(reads.len().min(keys.saturating_mul(answers)).min(MOST_PUSHED));
        let pushed: Vec<_> = reads.chunks(keys.max(1)).map(<[Bytes]>::to_vec).collect();
        let begin = Begin {
            key,
            places: last.saturating_add(1),
            own: own.collect(),
            others: others(part, partition),
            pushed: pushed.clone(),
            prefetch,
            within,
        };
        let begin = message::encode(&ToShard::Begin(Box::new(begin)));
        shares.push(Share { peer: *peer, shard: *shard, part, places, begin, pushed });
    }
    let routes = routes(partition, &shares);
    let base = Arc::new(Guarded::new(snapshot.clone(), accesses, partition));
    let over = Arc::new(AtomicBool::new(false));
    Attempt { key, deadline, shares, routes, base, reply: Arc::new(Reply::new()), over }
}

fn own<V: RemoteVm>(
    place: TxIndex,
    block: &[V::Transaction],
    accesses: &[Access<V::Key>],
    partition: &Partition<V::Key>,
) -> Option<Own> {
    let writes = &accesses.get(place as usize)?.writes;
    let edges = edges_of(partition, place);
    let told = writes.iter().enumerate().filter(|(at, key)| {
        let first = writes.get(..*at).is_some_and(|before| !before.contains(key));
        first && edges.iter().any(|edge| edge.key == **key)
    });
    Some(Own {
        place,
        transaction: block.get(place as usize)?.encode(),
        writes: writes.iter().map(Coded::encode).collect(),
        told: told.filter_map(|(at, _)| u32::try_from(at).ok()).collect(),
    })
}

/// The edges from one place; they are sorted by it.
fn edges_of<K>(partition: &Partition<K>, place: TxIndex) -> &[super::partition::Edge<K>] {
    let start = partition.edges.partition_point(|edge| edge.from < place);
    let end = partition.edges.partition_point(|edge| edge.from <= place);
    partition.edges.get(start..end).unwrap_or_default()
}

/// What a part waits for, by place.
fn others<K: Coded>(part: usize, partition: &Partition<K>) -> Vec<(TxIndex, Vec<Bytes>)> {
    let mut others: Vec<(TxIndex, Vec<Bytes>)> = Vec::new();
    for edge in partition.edges.iter().filter(|edge| edge.to == part) {
        match others.last_mut().filter(|(place, _)| *place == edge.from) {
            Some((_, keys)) => keys.push(edge.key.encode()),
            None => others.push((edge.from, vec![edge.key.encode()])),
        }
    }
    others
}

/// What a part is declared to read, each key once.
fn reads<K: Coded + std::hash::Hash + Eq>(places: &[TxIndex], accesses: &[Access<K>]) -> Vec<Bytes> {
    let mut seen = HashSet::<_, foldhash::fast::RandomState>::default();
    let reads = places.iter().filter_map(|place| accesses.get(*place as usize)).flat_map(|access| &access.reads);
    reads.filter(|key| seen.insert(*key)).map(Coded::encode).collect()
}

fn routes<K: Coded + PartialEq>(partition: &Partition<K>, shares: &[Share]) -> Routes {
    let mut routes = Routes::new();
    let mut last: Option<(TxIndex, &K)> = None;
    for edge in &partition.edges {
        let Some(to) = shares.iter().position(|share| share.part == edge.to) else { continue };
        let of_place = routes.entry(edge.from).or_default();
        // Edges of one place and key are neighbours.
        match of_place.last_mut().filter(|_| last == Some((edge.from, &edge.key))) {
            Some((_, shares)) => shares.push(to),
            None => of_place.push((edge.key.encode(), vec![to])),
        }
        last = Some((edge.from, &edge.key));
    }
    routes
}

/// What the shards have done, transaction by transaction; `None` if it cannot be understood, or is not all of it.
pub(crate) fn gather<V: RemoteVm>(vm: &V, done: &[Done], len: usize) -> Option<Gathered<V>> {
    let mut placed: Vec<Option<Committed<V>>> = (0..len).map(|_| None).collect();
    for executed in done.iter().flat_map(|done| &done.executed) {
        *placed.get_mut(executed.place as usize)? = Some(decode::<V>(executed)?);
    }
    let executions = done.iter().fold(0_u64, |sum, done| sum.saturating_add(done.executions));
    // What a block of nothing comes to: with all the statistics there are.
    let nothing = MemStore::<V::Key, V::Value>::new().snapshot().ok()?;
    let empty = execute_sequentially(&nothing, &[], vm, None).unwrap_or_else(|error| error.committed);
    Some(Gathered { placed: placed.into_iter().collect::<Option<_>>()?, executions, empty })
}

/// A block that the shards have executed.
pub(crate) struct Gathered<V: RemoteVm> {
    placed: Vec<Committed<V>>,
    executions: u64,
    empty: BlockOutput<V::Key, V::Value, V::Output>,
}

struct Committed<V: RemoteVm> {
    output: V::Output,
    writes: Vec<(V::Key, Op<V::Value>)>,
}

fn decode<V: RemoteVm>(executed: &Executed) -> Option<Committed<V>> {
    let write = |(key, value): &(Bytes, Option<Bytes>)| {
        let op = match value {
            Some(value) => Op::Put(V::Value::decode(value.clone())?),
            None => Op::Delete,
        };
        Some((V::Key::decode(key.clone())?, op))
    };
    let writes = executed.writes.iter().map(write).collect::<Option<Vec<_>>>()?;
    Some(Committed { output: V::Output::decode(executed.output.clone())?, writes })
}

/// What a block comes to: the hook is called for each transaction, in order, and may end the block.
pub(crate) fn conclude<V: RemoteVm>(
    Gathered { placed, executions, empty: mut output }: Gathered<V>,
    began: Instant,
    mut on_commit: Option<OnCommit<'_, V>>,
) -> BlockResult<V> {
    let (mut outputs, mut ops) = (Vec::with_capacity(placed.len()), Vec::new());
    let mut cause = None;
    for (index, Committed { output: of_it, writes }) in (0..TxIndex::MAX).zip(placed) {
        let commit = Commit { index, output: &of_it, writes: &writes };
        let flow = match &mut on_commit {
            None => Ok(std::ops::ControlFlow::Continue(())),
            Some(hook) => catch_unwind(AssertUnwindSafe(|| hook(commit))),
        };
        match flow {
            Ok(flow) => {
                outputs.push(of_it);
                ops.extend(writes);
                if flow.is_break() {
                    break;
                }
            }
            Err(panic) => {
                let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
                let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
                cause = Some(Cause::Panicked { index, message: words.unwrap_or_else(|| "no message".into()) });
                break;
            }
        }
    }
    output.committed = TxIndex::try_from(outputs.len()).unwrap_or(TxIndex::MAX);
    output.stats.transactions = outputs.len() as u64;
    output.stats.executions = executions;
    output.stats.wall = began.elapsed();
    (output.outputs, output.batch) = (outputs, ops.into_iter().collect());
    match cause {
        None => Ok(output),
        Some(cause) => Err(Box::new(BlockError { cause, committed: output })),
    }
}
