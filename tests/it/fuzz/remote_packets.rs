//! Arbitrary bytes where a packet or a message is expected, at a shard and at a coordinator that live on from input to input.
//!
//! The first byte says what the others are: a packet as it is; the body of a packet that is otherwise right; a message with
//! some of its bytes changed; a packet of numbers that are not right. Whatever comes, the peer goes on: it counts a message that
//! is sent after it, and a block that is executed after all of them is right.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a find")]

use bytes::Bytes;
use cachekv::executor::Vm;
use cachekv::kv::{KvStore, MemStore};
use cachekv::multiversion::{NoMerge, TxView, ViewError};
use cachekv::remote::message::{
    Answer, Begin, Done, Executed, Failed, Fetch, Limit, Outcome, Own, Page, Resolved, Scan, ShardFailure,
    ToCoordinator, ToShard, encode,
};
use cachekv::remote::{
    Access, BlockKey, BlockOptions, Cluster, ClusterConfig, Counts, Faults, Network, Peer, Receiver, Shard,
    ShardConfig, StillRunning, Transport, TransportError, VERSION,
};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub const EVENTS: &[&str] = &["garbled", "malformed", "stale"];

/// Reads its key, and writes it one higher.
struct Adding;

impl Vm for Adding {
    type Key = u8;
    type Value = u64;
    type Merge = NoMerge;
    type Transaction = u8;
    type Output = u64;
    type Error = ViewError;
    fn execute(&self, key: &u8, view: &TxView<'_, u8, u64>) -> Result<u64, ViewError> {
        let value = view.get(key)?.unwrap_or(0);
        view.set(*key, value.wrapping_add(1));
        Ok(value)
    }
}

/// The other end of a peer under test: sends it what it likes, and sees what it answers.
#[derive(Default)]
struct Wire {
    receiver: OnceLock<Receiver>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The peer's name, and the last packet of its that came.
    name: u64,
    last: u64,
    /// Ours, and the last packet that we sent.
    sent: u64,
}

const ME: u64 = 4711;
const PEER: Peer = Peer(0);

impl Transport for Wire {
    fn open(&self, receiver: Receiver) -> Result<(), TransportError> {
        assert!(self.receiver.set(receiver).is_ok());
        Ok(())
    }
    fn send(&self, _: Peer, packet: Bytes) {
        let number = |at: usize| u64::from_le_bytes(packet[at..at + 8].try_into().unwrap());
        let mut seen = self.seen.lock();
        if seen.name != number(8) {
            *seen = Seen { name: number(8), ..Seen::default() }; // another conversation
        }
        if number(24) > seen.last && number(16) == ME {
            seen.last = number(24);
        }
    }
    fn close(&self, _: Instant) -> Result<(), StillRunning> {
        Ok(())
    }
}

/// A packet by the rules.
fn packet([from, to, seq, ack]: [u64; 4], flags: u8, body: &[u8]) -> Bytes {
    let mut rest = Vec::new();
    for number in [from, to, seq, ack] {
        rest.extend(number.to_le_bytes());
    }
    rest.push(flags);
    rest.extend(body);
    let mut packet = [b"ckv".as_slice(), &[VERSION]].concat();
    packet.extend(crc32fast::hash(&rest).to_le_bytes());
    packet.extend(rest);
    packet.into()
}

impl Wire {
    fn deliver(&self, packet: Bytes) {
        self.receiver.get().unwrap()(PEER, packet);
    }

    /// The next packet of the conversation.
    fn say(&self, body: &[u8]) {
        let numbers = {
            let mut seen = self.seen.lock();
            seen.sent += 1;
            [ME, seen.name, seen.sent, seen.last]
        };
        self.deliver(packet(numbers, 0, body));
    }

    /// Says `probe` until it is heard, beginning a conversation if there is none; `counts` tells.
    fn is_heard(&self, probe: &[u8], counts: &dyn Fn() -> Counts) {
        let before = counts().stale;
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let (name, ack) = {
                let seen = self.seen.lock();
                (seen.name, seen.last)
            };
            self.deliver(packet([ME, name, 0, ack], 0, &[]));
            if name != 0 && counts().ups > 0 {
                self.say(probe);
            }
            let soon = Instant::now() + Duration::from_millis(5);
            while Instant::now() < soon {
                if counts().stale > before {
                    return;
                }
                std::thread::yield_now();
            }
            assert!(Instant::now() < end, "the peer no longer hears: {:?}", counts());
        }
    }
}

struct Peers {
    shard: (Shard, Arc<Wire>),
    cluster: (Mutex<Cluster<Adding>>, Arc<Wire>),
    /// A shard and a coordinator that are left alone, and show that the machine works.
    right: Mutex<(Cluster<Adding>, Shard)>,
}

fn peers() -> &'static Peers {
    static PEERS: OnceLock<Peers> = OnceLock::new();
    PEERS.get_or_init(|| {
        let (one, other) = (Arc::new(Wire::default()), Arc::new(Wire::default()));
        let mut shard = ShardConfig::default();
        shard.threads = 1;
        shard.link.message_bytes = 1 << 16;
        let mut config = ClusterConfig::default();
        config.threads = 1;
        config.link.message_bytes = 1 << 16;
        let network = Network::new(1, Faults::default());
        let right = (
            Cluster::start(Adding, network.transport(0), &[Peer(1)], config.clone()).unwrap(),
            Shard::start(Adding, network.transport(1), shard.clone()).unwrap(),
        );
        Peers {
            shard: (Shard::start(Adding, one.clone(), shard).unwrap(), one),
            cluster: (Mutex::new(Cluster::start(Adding, other.clone(), &[PEER], config).unwrap()), other),
            right: Mutex::new(right),
        }
    })
}

fn key(data: &[u8]) -> BlockKey {
    BlockKey { session: u64::from(data[0] % 2), block: u64::from(data[1] % 4), attempt: 0 }
}

fn of_a_coordinator(data: &[u8]) -> ToShard {
    let (key, n) = (key(data), data[3]);
    let bytes = Bytes::copy_from_slice(&data[4..]);
    match data[2] % 5 {
        0 => ToShard::Begin(Box::new(Begin {
            key,
            places: 2,
            own: vec![Own { place: 1, transaction: vec![n].into(), writes: vec![vec![n].into()], told: vec![0] }],
            others: vec![(0, vec![vec![n].into()])],
            pushed: vec![vec![vec![n ^ 1].into()]; usize::from(n % 3)],
            prefetch: vec![vec![n].into()],
            within: if n == u8::MAX { 10_000_000 } else { u64::from(n) * 10 }, // µs; the longest is long enough for a first read
        })),
        1 => ToShard::Answer(Answer { key, request: u64::from(n % 3), values: vec![(bytes, Ok(None))] }),
        2 => ToShard::Page(Page {
            key,
            request: u64::from(n % 3),
            entries: Ok(vec![(bytes.clone(), bytes)]),
            more: true,
        }),
        3 => {
            let outcome = if n < 250 { Outcome::Delete } else { Outcome::Merge(vec![bytes.clone()]) };
            let outcomes = vec![(u32::from(n % 3), vec![(bytes, outcome)])];
            ToShard::Resolved(Resolved { key, outcomes })
        }
        _ => ToShard::Abort(key),
    }
}

fn of_a_shard(data: &[u8]) -> ToCoordinator {
    let (key, n) = (key(data), data[3]);
    let bytes = Bytes::copy_from_slice(&data[4..]);
    match data[2] % 6 {
        0 => ToCoordinator::Fetch(Fetch { key, request: u64::from(n), demand: n % 2 == 0, keys: vec![bytes] }),
        1 => {
            let (start, end) = (Limit::Included(bytes), Limit::Unbounded);
            ToCoordinator::Scan(Scan { key, request: u64::from(n), start, end, backward: n % 2 == 0, most: u32::MAX })
        }
        2 => ToCoordinator::Resolved(Resolved {
            key,
            outcomes: vec![(u32::from(n), vec![(bytes, Outcome::NotWritten)])],
        }),
        3 => {
            let executed = vec![Executed { place: u32::from(n), output: bytes, writes: vec![] }];
            ToCoordinator::Done(Done { key, executed, executions: 1 })
        }
        4 => ToCoordinator::Failed(Failed {
            key,
            why: if n % 2 == 0 { ShardFailure::Busy } else { ShardFailure::Leaving },
        }),
        _ => ToCoordinator::Leaving,
    }
}

pub fn run(data: &[u8]) -> u32 {
    let Some((how, rest)) = data.split_first() else { return 0 };
    let peers = peers();
    let handle = peers.cluster.0.lock().handle();
    let to_shard = how % 2 == 0;
    let stale = BlockKey { session: u64::MAX, ..BlockKey::default() };
    let (wire, probe, counts): (&Wire, Bytes, Box<dyn Fn() -> Counts>) = if to_shard {
        (&peers.shard.1, encode(&ToShard::Abort(stale)), Box::new(move || peers.shard.0.counts()))
    } else {
        let done = ToCoordinator::Done(Done { key: stale, executed: vec![], executions: 0 });
        (&peers.cluster.1, encode(&done), Box::new(move || handle.counts()))
    };
    let before = counts();
    wire.is_heard(&probe, &*counts);
    match how / 2 % 4 {
        0 => wire.deliver(Bytes::copy_from_slice(rest)),
        1 => wire.say(rest),
        2 if rest.len() >= 6 => {
            let (change, rest) = rest.split_at(2);
            let message = if to_shard { encode(&of_a_coordinator(rest)) } else { encode(&of_a_shard(rest)) };
            let mut message = message.to_vec();
            if change[0] % 2 == 0 {
                let at = usize::from(change[1]) % message.len();
                message[at] = message[at].wrapping_add(change[0]);
            }
            wire.say(&message);
        }
        3 if rest.len() >= 33 => {
            let number = |at: usize| u64::from_le_bytes(rest[8 * at..8 * at + 8].try_into().unwrap());
            wire.deliver(packet([0, 1, 2, 3].map(number), rest[32], &rest[33..]));
        }
        _ => {}
    }
    wire.is_heard(&probe, &*counts);
    let after = counts();
    let long = to_shard && after.begun > before.begun && rest.ends_with(&[u8::MAX]);
    while long && counts().fetched == before.fetched && peers.shard.0.blocks() > 0 {
        std::thread::yield_now(); // its share reads, or came to its end before
    }
    if data.len().is_multiple_of(16) {
        a_block_is_right(&mut peers.right.lock().0);
    }
    let met = [after.garbled > before.garbled, after.malformed > before.malformed, after.stale > before.stale + 2];
    (0..).zip(met).filter(|(_, met)| *met).fold(0, |events, (at, _)| events | 1 << at)
}

/// The shares that were begun have all ended, some of them while a read of theirs was unanswered.
#[allow(dead_code, reason = "the smoke test asks it; a fuzzer does not end")]
pub fn shares_end() {
    let shard = &peers().shard.0;
    let end = Instant::now() + Duration::from_secs(60);
    while shard.blocks() > 0 || shard.counts().failed == 0 {
        assert!(Instant::now() < end, "a share goes on beyond its time: {:?}", shard.counts());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(shard.counts().fetched > 0, "{:?}", shard.counts());
}

fn a_block_is_right(cluster: &mut Cluster<Adding>) {
    let base = MemStore::from_iter([(1, 10)]).snapshot().unwrap();
    let access = Access { reads: vec![1], writes: vec![1] };
    let done = cluster.execute(&base, &[1, 1, 1], &vec![access; 3], BlockOptions::default()).unwrap();
    assert_eq!(done.output.outputs, [10, 11, 12]);
}
