//! A peer that says what a test tells it to, and tells the test what it hears.

use crate::executor::Vm;
use crate::multiversion::{MergeOperator, TxView, ViewError};
use crate::remote::counters::Counters;
use crate::remote::crew::Crew;
use crate::remote::endpoint::{Change, Endpoint, Incoming, Outbox, PACKETS, Station};
use crate::remote::link::LinkConfig;
use crate::remote::mailbox::Mailbox;
use crate::remote::message::{self, Begin, BlockKey, Own};
use crate::remote::{Cluster, ClusterConfig, Coded, Network, Peer, Shard, ShardConfig, Transport};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) fn within(time: Duration) -> Instant {
    Instant::now() + time
}

/// A link for tests that takes a silent peer to be down after `patience`.
pub(super) fn link(patience: Duration) -> LinkConfig {
    let mut link = LinkConfig::default();
    (link.resend, link.heartbeat, link.patience) = (Duration::from_millis(5), Duration::from_millis(40), patience);
    link
}

/// Adds.
#[derive(Debug)]
pub(super) struct Sum;

impl MergeOperator<u8, u64> for Sum {
    type Operand = u64;
    fn merge(_: &u8, base: Option<&u64>, operand: &u64) -> u64 {
        base.unwrap_or(&0).saturating_add(*operand)
    }
    fn admits(_: &u8, base: Option<&u64>, operand: &u64) -> bool {
        base.unwrap_or(&0).checked_add(*operand).is_some()
    }
}

/// `key += 1` for each key; the output is the sum of what was read. A key of 150 and more is merged into and not read, one of 200
/// and more is read and not written.
#[derive(Clone, Debug)]
pub(super) struct Counting;

impl Vm for Counting {
    type Key = u8;
    type Value = u64;
    type Merge = Sum;
    type Transaction = Bytes;
    type Output = u64;
    type Error = ViewError;
    fn execute(&self, keys: &Bytes, view: &TxView<'_, u8, u64, Sum>) -> Result<u64, ViewError> {
        let mut sum = 0;
        for key in keys {
            if (150..200).contains(key) {
                view.merge(*key, 1)?;
                continue;
            }
            let value = view.get(key)?.unwrap_or(0);
            sum += value;
            if *key < 200 {
                view.set(*key, value + 1);
            }
        }
        Ok(sum)
    }
}

pub(super) struct Puppet<H> {
    heard: Receiver<(Peer, H)>,
    mailbox: Arc<Mailbox<Incoming<(Peer, Bytes)>>>,
    crew: Crew,
    transport: Arc<dyn Transport>,
    counters: Arc<Counters>,
}

struct Strings<H> {
    heard: Sender<(Peer, H)>,
    of: PhantomData<H>,
}

impl<H: BorshDeserialize + Send + 'static> Station for Strings<H> {
    type Order = (Peer, Bytes);
    fn changed(&mut self, _: Peer, _: Change, _: &mut Outbox) {}
    fn heard(&mut self, peer: Peer, message: Bytes, _: &mut Outbox) {
        drop(self.heard.send((peer, message::decode(&message).unwrap())));
    }
    fn ordered(&mut self, (peer, message): (Peer, Bytes), out: &mut Outbox) {
        out.send(peer, message);
    }
    fn elapsed(&mut self, _: Instant, _: &mut Outbox) -> Option<Instant> {
        None
    }
    fn closing(&mut self, _: &mut Outbox) {}
}

impl<H: BorshDeserialize + Send + 'static> Puppet<H> {
    /// A puppet at `address` that calls `peers`.
    pub(super) fn new(network: &Network, address: u64, peers: &[u64]) -> Self {
        let (sender, heard) = channel();
        let mailbox = Arc::new(Mailbox::new(PACKETS));
        let transport: Arc<dyn Transport> = network.transport(address);
        let strings = Strings { heard: sender, of: PhantomData };
        let counters = Arc::new(Counters::default());
        let endpoint = Endpoint::new(
            strings,
            peers.iter().copied().map(Peer),
            link(LONG),
            Arc::clone(&mailbox),
            Arc::clone(&transport),
            Arc::clone(&counters),
        );
        let crew = Crew::default();
        crew.start("puppet".into(), move || endpoint.run()).unwrap();
        let inbox = Arc::clone(&mailbox);
        transport.open(Arc::new(move |peer, packet| _ = inbox.offer(Incoming::Packet(peer, packet)))).unwrap();
        Self { heard, mailbox, crew, transport, counters }
    }

    /// Waits until it can be heard: who called it is heard before.
    pub(super) fn talking(&self) {
        until(|| self.counters.read().ups > 0);
    }

    pub(super) fn say(&self, peer: u64, message: &impl BorshSerialize) {
        assert!(self.mailbox.push(Incoming::Order((Peer(peer), message::encode(message)))));
    }

    /// The next that it hears, of whatever `of` picks.
    pub(super) fn hear<T>(&self, mut of: impl FnMut(H) -> Option<T>) -> T {
        loop {
            let (_, message) = self.heard.recv_timeout(LONG).expect("it hears nothing");
            if let Some(picked) = of(message) {
                return picked;
            }
        }
    }

    /// Whether it hears nothing of the kind for a little while.
    pub(super) fn hears_no(&self, mut of: impl FnMut(&H) -> bool) -> bool {
        let until = within(Duration::from_millis(60));
        while let Ok((_, message)) = self.heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if of(&message) {
                return false;
            }
        }
        true
    }

    /// Gone, without a word.
    pub(super) fn vanish(self) {}
}

impl<H> Drop for Puppet<H> {
    fn drop(&mut self) {
        self.transport.close(within(LONG)).unwrap();
        self.mailbox.close();
        self.crew.join(within(LONG)).unwrap();
    }
}

pub(super) fn shard(network: &Network, address: u64, patience: Duration) -> Shard {
    let config = ShardConfig { threads: 1, link: link(patience), ..ShardConfig::default() };
    Shard::start(Counting, network.transport(address), config).unwrap()
}

pub(super) fn cluster(network: &Network, address: u64, shards: &[u64], patience: Duration) -> Cluster<Counting> {
    let config = ClusterConfig { threads: 1, link: link(patience), ..ClusterConfig::default() };
    let shards: Vec<_> = shards.iter().copied().map(Peer).collect();
    Cluster::start(Counting, network.transport(address), &shards, config).unwrap()
}

/// Waits until a puppet and its peer talk: before, nothing can be said.
pub(super) fn talking(shard: &Shard, coordinators: u64) {
    until(|| shard.counts().ups >= coordinators);
}

pub(super) fn until(mut done: impl FnMut() -> bool) {
    let end = within(LONG);
    while !done() {
        assert!(Instant::now() < end, "it does not come to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A share: transactions at these places, each over the keys beside it, all of them told.
pub(super) fn begin(key: BlockKey, own: &[(u32, &[u8])], others: &[(u32, &[u8])]) -> Begin {
    let keys = |keys: &[u8]| keys.iter().map(Coded::encode).collect::<Vec<_>>();
    let own: Vec<_> = own
        .iter()
        .map(|(place, touched)| {
            let writes = keys(&touched.iter().copied().filter(|key| *key < 200).collect::<Vec<_>>());
            let told = (0..writes.len() as u32).collect();
            Own { place: *place, transaction: Bytes::copy_from_slice(touched), writes, told }
        })
        .collect();
    let others = others.iter().map(|(place, touched)| (*place, keys(touched))).collect();
    let places = own.last().map_or(0, |own| own.place + 1);
    Begin { key, places, own, others, pushed: vec![], prefetch: vec![], within: LONG.as_micros() as u64 }
}

pub(super) fn block_key(block: u64) -> BlockKey {
    BlockKey { session: 7, block, attempt: 0 }
}
