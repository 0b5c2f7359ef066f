//! A network inside one process, whose faults are drawn from a seed: packets delayed, lost, repeated, damaged and overtaken,
//! links cut, peers frozen.
//!
//! What becomes of a packet is a function of the seed, of its link and of how many packets that link has carried, whatever
//! the clock says: the same seed makes the same faults.

use super::crew::{Crew, StillRunning};
use super::mailbox::Mailbox;
use super::transport::{Peer, Receiver, Transport, TransportError};
use crate::sync::{Arc, Mutex};
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// What a network does to packets, each in 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How many are delayed. Those behind overtake them.
    pub delayed: u32,
    /// For how long at most.
    pub delay: Duration,
    /// How many are lost.
    pub lost: u32,
    /// How many arrive twice, the second time late.
    pub repeated: u32,
    /// How many arrive with a bit flipped.
    pub damaged: u32,
}

/// A network. Clones are the same one.
///
/// ```
/// use cachekv::remote::{Faults, Network, Peer, Transport};
/// use std::sync::mpsc;
/// let network = Network::new(1, Faults::default());
/// let (sender, receiver) = mpsc::channel();
/// let (one, two) = (network.transport(1), network.transport(2));
/// one.open(std::sync::Arc::new(|_, _| {}))?;
/// two.open(std::sync::Arc::new(move |from, packet| drop(sender.send((from, packet)))))?;
/// one.send(Peer(2), "hello".into());
/// assert_eq!(receiver.recv(), Ok((Peer(1), "hello".into())));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
}

struct State {
    seed: u64,
    faults: Faults,
    open: HashMap<Peer, Open>,
    carried: HashMap<(Peer, Peer), u64>,
    cut: HashSet<(Peer, Peer)>,
    frozen: HashMap<Peer, VecDeque<(Peer, Peer, Bytes)>>,
}

/// A peer that has opened its transport.
#[derive(Clone)]
struct Open {
    receiver: Receiver,
    late: Arc<Mailbox<Late>>,
}

/// A packet that arrives later.
struct Late {
    due: Instant,
    from: Peer,
    packet: Bytes,
}

/// How many packets wait at most for a peer that is frozen.
const FROZEN: usize = 4096;

impl Network {
    /// A network with these faults, drawn from `seed`.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let state = State {
            seed,
            faults,
            open: HashMap::new(),
            carried: HashMap::new(),
            cut: HashSet::new(),
            frozen: HashMap::new(),
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state) }) }
    }

    /// The transport of the peer `address`.
    pub fn transport(&self, address: u64) -> Arc<InProcess> {
        Arc::new(InProcess { network: self.clone(), me: Peer(address), crew: Crew::default() })
    }

    /// From now on these are its faults.
    pub fn set_faults(&self, faults: Faults) {
        self.inner.state.lock().faults = faults;
    }

    /// Cuts the link between two peers: what either sends to the other is lost.
    pub fn cut(&self, one: u64, other: u64) {
        self.inner.state.lock().cut.extend([(Peer(one), Peer(other)), (Peer(other), Peer(one))]);
    }

    /// Mends a link.
    pub fn mend(&self, one: u64, other: u64) {
        let mut state = self.inner.state.lock();
        state.cut.remove(&(Peer(one), Peer(other)));
        state.cut.remove(&(Peer(other), Peer(one)));
    }

    /// Freezes a peer: what it sends and what is sent to it waits.
    pub fn freeze(&self, address: u64) {
        self.inner.state.lock().frozen.entry(Peer(address)).or_default();
    }

    /// Lets a peer go on: what has waited arrives.
    pub fn thaw(&self, address: u64) {
        let waited = self.inner.state.lock().frozen.remove(&Peer(address)).unwrap_or_default();
        for (from, to, packet) in waited {
            self.deliver(from, to, packet);
        }
    }

    fn carry(&self, from: Peer, to: Peer, packet: Bytes) {
        let (mut draw, faults) = {
            let mut state = self.inner.state.lock();
            if state.cut.contains(&(from, to)) {
                return;
            }
            let count = state.carried.entry((from, to)).or_default();
            *count = count.wrapping_add(1);
            let number = (from.0.wrapping_mul(0x9e37_79b9).wrapping_add(to.0) << 32).wrapping_add(*count);
            (Draw(state.seed ^ number), state.faults)
        };
        if draw.in_1000(faults.lost) {
            return;
        }
        let packet = if draw.in_1000(faults.damaged) { damaged(&packet, &mut draw) } else { packet };
        if draw.in_1000(faults.repeated) {
            self.deliver_late(draw.below(faults.delay), from, to, packet.clone());
        }
        if draw.in_1000(faults.delayed) {
            self.deliver_late(draw.below(faults.delay), from, to, packet);
        } else {
            self.deliver(from, to, packet);
        }
    }

    fn deliver_late(&self, after: Duration, from: Peer, to: Peer, packet: Bytes) {
        let now = Instant::now();
        let late = self.inner.state.lock().open.get(&to).map(|open| Arc::clone(&open.late));
        if let Some(late) = late {
            late.push(Late { due: now.checked_add(after).unwrap_or(now), from, packet });
        }
    }

    fn deliver(&self, from: Peer, to: Peer, packet: Bytes) {
        let receiver = {
            let mut state = self.inner.state.lock();
            let frozen = [from, to].into_iter().find(|peer| state.frozen.contains_key(peer));
            if let Some(waiting) = frozen.and_then(|peer| state.frozen.get_mut(&peer)) {
                if waiting.len() < FROZEN {
                    waiting.push_back((from, to, packet));
                }
                return;
            }
            if state.cut.contains(&(from, to)) {
                return;
            }
            state.open.get(&to).map(|open| Arc::clone(&open.receiver))
        };
        if let Some(receiver) = receiver {
            receiver(from, packet);
        }
    }

    /// Delivers what is late for `to`, until its transport is closed.
    fn deliver_what_is_late(&self, to: Peer, late: &Mailbox<Late>) {
        let mut waiting: BinaryHeap<Reverse<(Instant, u64)>> = BinaryHeap::new();
        let mut packets: HashMap<u64, Late> = HashMap::new();
        let (mut arrived, mut count) = (VecDeque::new(), 0_u64);
        loop {
            let due = waiting.peek().map(|Reverse((due, _))| *due);
            if !late.take_all(&mut arrived, due) {
                return;
            }
            for late in arrived.drain(..) {
                count = count.wrapping_add(1);
                waiting.push(Reverse((late.due, count)));
                packets.insert(count, late);
            }
            while let Some(Reverse((due, number))) = waiting.peek().copied() {
                if due > Instant::now() {
                    break;
                }
                waiting.pop();
                if let Some(late) = packets.remove(&number) {
                    self.deliver(late.from, to, late.packet);
                }
            }
        }
    }
}

fn damaged(packet: &Bytes, draw: &mut Draw) -> Bytes {
    let mut packet = packet.to_vec();
    let at = usize::try_from(draw.next()).unwrap_or(0).checked_rem(packet.len()).unwrap_or(0);
    if let Some(byte) = packet.get_mut(at) {
        *byte ^= 1 << (draw.next() & 7);
    }
    packet.into()
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn in_1000(&mut self, odds: u32) -> bool {
        self.next() % 1000 < u64::from(odds)
    }

    fn below(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.next().checked_rem(most).unwrap_or(0))
    }
}

/// One peer's way into a [`Network`].
pub struct InProcess {
    network: Network,
    me: Peer,
    crew: Crew,
}

impl Transport for InProcess {
    fn open(&self, receiver: Receiver) -> Result<(), TransportError> {
        let late = Arc::new(Mailbox::new(usize::MAX));
        {
            let mut state = self.network.inner.state.lock();
            if state.open.contains_key(&self.me) {
                let address = self.me.0.to_string();
                return Err(TransportError::Listen { address, why: "it is taken".into() });
            }
            state.open.insert(self.me, Open { receiver, late: Arc::clone(&late) });
        }
        let (network, me) = (self.network.clone(), self.me);
        let started =
            self.crew.start(format!("cachekv-network-{}", me.0), move || network.deliver_what_is_late(me, &late));
        started.map_err(|error| {
            self.network.inner.state.lock().open.remove(&self.me);
            TransportError::Threads(error.to_string())
        })
    }

    fn send(&self, peer: Peer, packet: Bytes) {
        self.network.carry(self.me, peer, packet);
    }

    fn close(&self, deadline: Instant) -> Result<(), StillRunning> {
        if let Some(open) = self.network.inner.state.lock().open.remove(&self.me) {
            open.late.close();
        }
        self.crew.join(deadline)
    }
}
