//! Which message passes: what stands between two peers reads along, and something happens at a step of a block.

use cachekv::remote::VERSION;

/// A kind of message, by the direction in which it goes and the first byte of its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Begin,
    Answer,
    ResolvedDown,
    Fetch,
    ResolvedUp,
    Done,
}

impl Kind {
    /// Whether it goes to the shard, and how it begins.
    fn of(self) -> (bool, u8) {
        match self {
            Kind::Begin => (true, 0),
            Kind::Answer => (true, 1),
            Kind::ResolvedDown => (true, 3),
            Kind::Fetch => (false, 0),
            Kind::ResolvedUp => (false, 2),
            Kind::Done => (false, 3),
        }
    }
}

/// A step of a block: the how-many-eth message of a kind, just before it passes or when it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub kind: Kind,
    pub nth: usize,
    pub passed: bool,
}

/// Something that happens once, at a step.
pub struct Event {
    pub step: Step,
    pub seen: usize,
    pub act: Box<dyn FnOnce() + Send>,
}

impl Event {
    /// Whether a message of this direction and beginning is the one.
    pub fn is_it(&mut self, down: bool, begins: u8) -> bool {
        self.seen += usize::from(self.step.kind.of() == (down, begins));
        self.seen == self.step.nth && self.step.kind.of() == (down, begins)
    }
}

/// The bytes of a packet before its body: "ckv" version, checksum, names, numbers, flags.
const HEAD: usize = 41;

/// Finds messages in the bytes of one direction.
#[derive(Default)]
pub struct Reader {
    /// What may be the beginning of a packet's head.
    rest: Vec<u8>,
    /// The conversation, and the number of its last packet: one that is sent again is passed over.
    names: (u64, u64),
    seq: u64,
    /// Whether the last packet goes on in the next.
    more: bool,
}

impl Reader {
    /// The messages that begin in `bytes`: where, or 0 if before, and their first byte.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<(usize, u8)> {
        let old = self.rest.len();
        self.rest.extend_from_slice(bytes);
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(packet) = self.rest.get(at..at + HEAD + 1) {
            if packet[..4] != [b'c', b'k', b'v', VERSION] {
                at += 1;
                continue;
            }
            let number = |from: usize| u64::from_le_bytes(packet[from..from + 8].try_into().unwrap());
            let (names, seq, more) = ((number(8), number(16)), number(24), packet[40] & 1 == 1);
            if names != self.names {
                (self.names, self.seq, self.more) = (names, 0, false);
            }
            if seq == self.seq + 1 {
                if !self.more {
                    found.push((at.saturating_sub(old), packet[HEAD]));
                }
                (self.seq, self.more) = (seq, more);
            }
            at += 4;
        }
        self.rest.drain(..at);
        found
    }
}
