//! One thread between a transport and a state machine: it owns the links, and nobody waits for it.
//!
//! ```text
//! transport ──packets──▶ ┌─────────┐ ──▶ links ──▶ messages, in order ──▶ ┌─────────┐
//!                        │ mailbox │                                      │ station │
//! own threads ─orders──▶ └─────────┘ ─────────────────────────────────▶   └─────────┘
//! transport ◀──packets── links ◀── messages ◀── outbox ◀──────────────────────┘
//! ```
//!
//! The station is a state machine without I/O: what it is told and what time it is go in, messages come out. Nothing here
//! holds a lock while it sends or waits.

use super::counters::Counters;
use super::crew::Ended;
use super::link::{Event, Link, LinkConfig};
use super::mailbox::Mailbox;
use super::packet::{Packet, Refused};
use super::transport::{Peer, Transport};
use crate::sync::Arc;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

/// What happened to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Up,
    /// Another life of it, or one that had lost patience: what was told to it before is lost.
    Restarted,
    Down,
}

/// What is behind an endpoint.
pub(crate) trait Station: Send + 'static {
    /// What its own threads tell it.
    type Order: Send + 'static;
    fn changed(&mut self, peer: Peer, change: Change, out: &mut Outbox);
    fn heard(&mut self, peer: Peer, message: Bytes, out: &mut Outbox);
    fn ordered(&mut self, order: Self::Order, out: &mut Outbox);
    /// Does what is due, and says when something will be.
    fn elapsed(&mut self, now: Instant, out: &mut Outbox) -> Option<Instant>;
    /// The endpoint is closing; what is said now is sent once.
    fn closing(&mut self, out: &mut Outbox);
}

/// Messages to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: Vec<(Peer, Bytes)>,
}

impl Outbox {
    pub(crate) fn send(&mut self, peer: Peer, message: Bytes) {
        self.messages.push((peer, message));
    }
}

/// What comes to an endpoint.
#[derive(Debug)]
pub(crate) enum Incoming<O> {
    Packet(Peer, Bytes),
    Order(O),
    /// To be told when all that was said before has been acknowledged by whoever is there.
    Settle(Arc<Ended>),
}

/// How many packets wait at most for the endpoint to come to them.
pub(crate) const PACKETS: usize = 4096;

/// How many peers an endpoint keeps a link to.
const PEERS: usize = 256;

pub(crate) struct Endpoint<S: Station> {
    station: S,
    links: HashMap<Peer, Link>,
    config: LinkConfig,
    mailbox: Arc<Mailbox<Incoming<S::Order>>>,
    transport: Arc<dyn Transport>,
    counters: Arc<Counters>,
    names: RandomState,
    out: Outbox,
    unsettled: Vec<Arc<Ended>>,
}

impl<S: Station> Endpoint<S> {
    /// An endpoint that calls `peers`; others may call it.
    pub(crate) fn new(
        station: S,
        peers: impl IntoIterator<Item = Peer>,
        config: LinkConfig,
        mailbox: Arc<Mailbox<Incoming<S::Order>>>,
        transport: Arc<dyn Transport>,
        counters: Arc<Counters>,
    ) -> Self {
        let names = RandomState::new();
        let mut endpoint = Self {
            station,
            links: HashMap::new(),
            config,
            mailbox,
            transport,
            counters,
            names,
            out: Outbox::default(),
            unsettled: Vec::new(),
        };
        for peer in peers {
            endpoint.meet(peer, Instant::now());
        }
        endpoint
    }

    /// Works until the mailbox is closed.
    pub(crate) fn run(mut self) {
        let mut incoming = VecDeque::new();
        let mut due = Some(Instant::now()); // its peers are called at once
        loop {
            let open = self.mailbox.take_all(&mut incoming, due);
            let now = Instant::now();
            for item in incoming.drain(..) {
                match item {
                    Incoming::Packet(peer, bytes) => self.receive(peer, bytes, now),
                    Incoming::Order(order) => self.station.ordered(order, &mut self.out),
                    Incoming::Settle(settled) => self.unsettled.push(settled),
                }
            }
            let next = self.station.elapsed(now, &mut self.out);
            if !open {
                self.station.closing(&mut self.out);
            }
            self.hand_over();
            self.poll(now);
            if !open || self.links.values().all(Link::is_settled) {
                self.unsettled.drain(..).for_each(|settled| _ = settled.write(Ok(())));
            }
            if !open {
                return;
            }
            due = self.links.values().map(|link| link.next(now)).chain(next).min();
        }
    }

    fn receive(&mut self, peer: Peer, bytes: Bytes, now: Instant) {
        self.counters.packets.one();
        let packet = match Packet::decode(bytes) {
            Ok(packet) => packet,
            Err(Refused::Garbled) => return self.counters.garbled.one(),
            Err(Refused::Version(_)) => return self.counters.versions.one(),
        };
        let Some(link) = self.meet(peer, now) else { return self.counters.crowded.one() };
        let mut events = Vec::new();
        link.receive(packet, now, &mut events);
        self.tell(peer, events);
    }

    /// The link to `peer`. There is none for one too many.
    fn meet(&mut self, peer: Peer, now: Instant) -> Option<&mut Link> {
        if !self.links.contains_key(&peer) {
            if self.links.len() >= PEERS {
                let gone = self.links.iter().find(|(_, link)| !link.is_up()).map(|(peer, _)| *peer);
                self.links.remove(&gone?);
            }
            let seed = self.names.hash_one((peer, now));
            self.links.insert(peer, Link::new(self.config.clone(), seed, now));
        }
        self.links.get_mut(&peer)
    }

    fn tell(&mut self, peer: Peer, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Up => {
                    self.counters.ups.one();
                    self.station.changed(peer, Change::Up, &mut self.out);
                }
                Event::Restarted => {
                    self.counters.downs.one();
                    self.station.changed(peer, Change::Restarted, &mut self.out);
                }
                Event::Down => {
                    self.counters.downs.one();
                    self.station.changed(peer, Change::Down, &mut self.out);
                }
                Event::Message(message) => self.station.heard(peer, message, &mut self.out),
            }
        }
    }

    fn hand_over(&mut self) {
        for (peer, message) in std::mem::take(&mut self.out.messages) {
            if !self.links.get_mut(&peer).is_some_and(|link| link.send(message)) {
                self.counters.undelivered.one();
            }
        }
    }

    fn poll(&mut self, now: Instant) {
        let mut told = Vec::new();
        for (peer, link) in &mut self.links {
            let (mut events, before) = (Vec::new(), link.resent);
            link.poll(now, &mut events, |packet| self.transport.send(*peer, packet));
            self.counters.resent.add(link.resent.saturating_sub(before));
            if !events.is_empty() {
                told.push((*peer, events));
            }
        }
        for (peer, events) in told {
            self.tell(peer, events);
        }
        self.hand_over(); // what was said of these; it goes out with the next poll, which is due at once or soon
    }
}
