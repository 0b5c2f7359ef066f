//! One peer: messages, each once and in order, over a transport that may lose, repeat, delay and reorder packets.
//!
//! No thread, no clock and no socket: packets and the time go in, packets and events come out.
//!
//! * A **conversation** is a pair of names, one of each side, drawn at random. Packets of another pair are not of this
//!   conversation: what a peer said in an earlier life, or before it lost patience, is never taken for what it says now.
//! * Packets are numbered, acknowledged and sent again. At most [`window`](LinkConfig::window) of them are under way: what a
//!   peer cannot take waits here, and holds up nobody else.
//! * A peer that is silent for too long is **down**: the conversation ends, what was not acknowledged is dropped, and the next
//!   one begins under a new name. A peer that comes back under a new name has **restarted**: the same.
//!
//! ```text
//!          greeting from a name that knows ours               silence
//!   Down ────────────────────────────────────▶ Up ──────────────────────────▶ Down (we take a new name)
//!                                              │ ▲
//!                                              └─┘ another name that knows ours: restarted
//! ```

use super::packet::Packet;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How a link behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkConfig {
    /// The most bytes of a message in one packet; longer messages take several.
    pub packet_bytes: usize,
    /// The most packets under way.
    pub window: usize,
    /// When a packet that was not acknowledged is sent again; doubled each time, up to [`heartbeat`](Self::heartbeat).
    pub resend: Duration,
    /// How long a side keeps silent at most.
    pub heartbeat: Duration,
    /// How long the other side may be silent before it is taken to be down.
    pub patience: Duration,
    /// The longest message that is taken.
    pub message_bytes: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            packet_bytes: 256 << 10,
            window: 64,
            resend: Duration::from_millis(200),
            heartbeat: Duration::from_millis(500),
            patience: Duration::from_secs(3),
            message_bytes: 256 << 20,
        }
    }
}

/// What the link has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A conversation has begun.
    Up,
    /// The peer began another conversation: it has restarted, or had lost patience. What it had not acknowledged is lost.
    Restarted,
    /// The conversation has ended. What the peer had not acknowledged is lost.
    Down,
    /// The next message.
    Message(Bytes),
}

/// How many names of earlier conversations are remembered: packets of theirs may still be under way.
const RETIRED: usize = 64;

#[derive(Debug)]
pub(crate) struct Link {
    config: LinkConfig,
    /// Our name in this conversation, and the peer's.
    me: u64,
    peer: Option<u64>,
    /// Names under which the peer has spoken to this name of ours before.
    retired: VecDeque<u64>,
    /// Names for us, drawn from here.
    names: u64,
    /// Packets of messages not yet sent.
    waiting: VecDeque<Piece>,
    flight: VecDeque<Flight>,
    sent: u64,
    received: u64,
    /// Packets that came before their turn.
    early: BTreeMap<u64, Piece>,
    /// The beginning of a message.
    partial: BytesMut,
    /// Whether something is to be acknowledged, and whom to greet.
    owes_ack: bool,
    greets: Option<u64>,
    heard: Instant,
    spoke: Option<Instant>,
    /// Packets sent again.
    pub(crate) resent: u64,
}

#[derive(Clone, Debug)]
struct Piece {
    more: bool,
    body: Bytes,
}

#[derive(Debug)]
struct Flight {
    seq: u64,
    piece: Piece,
    due: Instant,
    tries: u32,
}

impl Link {
    /// A link that has not heard of its peer. `seed` must differ from one life of a process to the next.
    pub(crate) fn new(config: LinkConfig, seed: u64, now: Instant) -> Self {
        let mut link = Self {
            config,
            me: 0,
            peer: None,
            retired: VecDeque::new(),
            names: seed,
            waiting: VecDeque::new(),
            flight: VecDeque::new(),
            sent: 0,
            received: 0,
            early: BTreeMap::new(),
            partial: BytesMut::new(),
            owes_ack: false,
            greets: None,
            heard: now,
            spoke: None,
            resent: 0,
        };
        link.rename();
        link
    }

    pub(crate) fn is_up(&self) -> bool {
        self.peer.is_some()
    }

    /// Whether the peer has acknowledged all that it was told.
    pub(crate) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.flight.is_empty()
    }

    /// Takes `message` to be sent; false, and nothing done, while there is no conversation.
    pub(crate) fn send(&mut self, message: Bytes) -> bool {
        if !self.is_up() {
            return false;
        }
        let mut rest = message;
        while rest.len() > self.config.packet_bytes {
            let body = rest.split_to(self.config.packet_bytes.max(1));
            self.waiting.push_back(Piece { more: true, body });
        }
        self.waiting.push_back(Piece { more: false, body: rest });
        true
    }

    /// Takes a packet in. What it has to tell is added to `events`.
    pub(crate) fn receive(&mut self, packet: Packet, now: Instant, events: &mut Vec<Event>) {
        if packet.to != self.me {
            // Whoever it is does not know us, or not by this name. It is told our name, and nothing is believed.
            if packet.to == 0 || Some(packet.from) != self.peer || packet.seq > 0 {
                self.greets = Some(packet.from);
            }
            return;
        }
        if self.peer != Some(packet.from) {
            if self.retired.contains(&packet.from) {
                return;
            }
            self.converse_with(packet.from, events);
        }
        self.heard = now;
        if packet.ack <= self.sent {
            while self.flight.front().is_some_and(|flight| flight.seq <= packet.ack) {
                self.flight.pop_front();
            }
        }
        if packet.seq > 0 {
            self.owes_ack = true;
            self.take(packet, events);
        }
    }

    /// Sends what is due, by `emit`.
    pub(crate) fn poll(&mut self, now: Instant, events: &mut Vec<Event>, mut emit: impl FnMut(Bytes)) {
        if self.is_up() && now.saturating_duration_since(self.heard) > self.config.patience {
            self.hang_up(events);
        }
        let (me, to, ack) = (self.me, self.peer.unwrap_or(0), self.received);
        let packet = |seq, piece: Piece| Packet { from: me, to, seq, ack, more: piece.more, body: piece.body };
        let mut spoken = false;
        for flight in &mut self.flight {
            if flight.due <= now {
                flight.tries = flight.tries.saturating_add(1);
                flight.due = later(now, backoff(&self.config, flight.tries));
                self.resent = self.resent.saturating_add(1);
                emit(packet(flight.seq, flight.piece.clone()).encode());
                spoken = true;
            }
        }
        while self.flight.len() < self.config.window {
            let Some(piece) = self.waiting.pop_front() else { break };
            self.sent = self.sent.saturating_add(1);
            emit(packet(self.sent, piece.clone()).encode());
            self.flight.push_back(Flight { seq: self.sent, piece, due: later(now, self.config.resend), tries: 0 });
            spoken = true;
        }
        let bare = Piece { more: false, body: Bytes::new() };
        if let Some(stranger) = self.greets.take() {
            emit(Packet { to: stranger, ..packet(0, bare.clone()) }.encode());
        }
        let silent = self.spoke.is_none_or(|spoke| now >= later(spoke, self.pause()));
        if !spoken && (self.owes_ack || silent) {
            emit(packet(0, bare).encode());
            spoken = true;
        }
        if spoken {
            self.owes_ack = false;
            self.spoke = Some(now);
        }
    }

    /// When to poll next if nothing happens before.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let may_send = !self.waiting.is_empty() && self.flight.len() < self.config.window;
        if may_send || self.owes_ack || self.greets.is_some() {
            return now;
        }
        let speak = self.spoke.map_or(now, |spoke| later(spoke, self.pause()));
        let resend = self.flight.iter().map(|flight| flight.due).min();
        let give_up = self.is_up().then(|| later(self.heard, self.config.patience));
        let due = resend.into_iter().chain(give_up).fold(speak, Instant::min);
        due.max(now)
    }

    /// Ends the conversation, if there is one.
    pub(crate) fn hang_up(&mut self, events: &mut Vec<Event>) {
        if self.peer.take().is_some() {
            self.forget();
            self.rename();
            events.push(Event::Down);
        }
    }

    /// How long we keep silent: before a conversation we call more often.
    fn pause(&self) -> Duration {
        if self.is_up() { self.config.heartbeat } else { self.config.resend }
    }

    fn converse_with(&mut self, peer: u64, events: &mut Vec<Event>) {
        match self.peer.replace(peer) {
            None => events.push(Event::Up),
            Some(before) => {
                if self.retired.len() == RETIRED {
                    self.retired.pop_front();
                }
                self.retired.push_back(before);
                self.forget();
                events.push(Event::Restarted);
            }
        }
        self.owes_ack = true; // so that it knows us, too
    }

    /// Takes a numbered packet in, and the messages that it completes.
    fn take(&mut self, packet: Packet, events: &mut Vec<Event>) {
        let ahead = packet.seq.saturating_sub(self.received);
        if ahead == 0 || ahead > (self.config.window as u64).saturating_mul(2) {
            return; // it has come before, or its sender does not keep to the window
        }
        self.early.entry(packet.seq).or_insert(Piece { more: packet.more, body: packet.body });
        while let Some(piece) = self.early.remove(&self.received.saturating_add(1)) {
            self.received = self.received.saturating_add(1);
            if self.partial.len().saturating_add(piece.body.len()) > self.config.message_bytes {
                return self.hang_up(events);
            }
            if piece.more || !self.partial.is_empty() {
                self.partial.extend_from_slice(&piece.body);
            }
            match (piece.more, self.partial.is_empty()) {
                (true, _) => {}
                (false, true) => events.push(Event::Message(piece.body)),
                (false, false) => events.push(Event::Message(std::mem::take(&mut self.partial).freeze())),
            }
        }
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.flight.clear();
        self.early.clear();
        self.partial.clear();
        (self.sent, self.received) = (0, 0);
    }

    /// Takes a new name: nothing that was said to the old one is for us, whoever said it.
    fn rename(&mut self) {
        // SplitMix64.
        self.names = self.names.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.names;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.me = (z ^ z >> 31).max(1);
        self.retired.clear();
    }
}

fn backoff(config: &LinkConfig, tries: u32) -> Duration {
    config.resend.saturating_mul(1 << tries.min(6)).min(config.heartbeat.max(config.resend))
}

fn later(now: Instant, by: Duration) -> Instant {
    now.checked_add(by).unwrap_or(now)
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
