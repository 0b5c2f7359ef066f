//! Two links over a network that does what it likes, in simulated time.

use super::*;
use proptest::prelude::*;

/// Two ends, and what is under way between them.
struct Pair {
    now: Instant,
    ends: [Link; 2],
    /// (arrival, to, packet).
    under_way: Vec<(Instant, usize, Bytes)>,
    heard: [Vec<Event>; 2],
    random: u64,
    /// Of 256 packets, how many are lost, repeated, damaged; and the longest delay in milliseconds.
    odds: [u64; 4],
    cut: bool,
}

fn config() -> LinkConfig {
    LinkConfig { packet_bytes: 4, window: 4, message_bytes: 64, ..LinkConfig::default() }
}

impl Pair {
    fn new(seed: u64, odds: [u64; 4]) -> Self {
        let now = Instant::now();
        let ends = [Link::new(config(), seed, now), Link::new(config(), seed ^ 1 << 40, now)];
        Self { now, ends, under_way: Vec::new(), heard: [Vec::new(), Vec::new()], random: seed | 1, odds, cut: false }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(20);
        let [lost, repeated, damaged, delay] = self.odds;
        for from in 0..2 {
            let mut packets = Vec::new();
            let mut events = std::mem::take(&mut self.heard[from]);
            self.ends[from].poll(self.now, &mut events, |packet| packets.push(packet));
            self.heard[from] = events;
            for packet in packets {
                if self.cut || self.draw(256) < lost {
                    continue;
                }
                let copies = 1 + u64::from(self.draw(256) < repeated);
                for _ in 0..copies {
                    let mut bytes = packet.to_vec();
                    if self.draw(256) < damaged {
                        let at = self.draw(bytes.len() as u64) as usize;
                        bytes[at] ^= 1 << self.draw(8);
                    }
                    let arrival = self.now + Duration::from_millis(self.draw(delay + 1));
                    self.under_way.push((arrival, 1 - from, bytes.into()));
                }
            }
        }
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.under_way).into_iter().partition(|(at, ..)| *at <= now);
        self.under_way = later;
        let due: Vec<(Instant, usize, Bytes)> = due;
        for (_, to, bytes) in due {
            if let Ok(packet) = Packet::decode(bytes) {
                let mut events = std::mem::take(&mut self.heard[to]);
                self.ends[to].receive(packet, now, &mut events);
                self.heard[to] = events;
            }
        }
    }

    fn until(&mut self, steps: usize, done: impl Fn(&Self) -> bool) -> bool {
        (0..steps).any(|_| {
            self.step();
            done(self)
        })
    }

    fn messages(&self, end: usize) -> Vec<Bytes> {
        self.heard[end].iter().filter_map(|e| if let Event::Message(m) = e { Some(m.clone()) } else { None }).collect()
    }

    fn is_up(&self) -> bool {
        self.ends.iter().all(Link::is_up)
    }
}

fn message(number: usize) -> Bytes {
    Bytes::from(vec![number as u8; number % 23])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every message comes once and in order, both ways, whatever is lost, repeated, damaged, delayed and overtaken.
    #[test]
    fn messages_come_once_and_in_order(
        seed in any::<u64>(), lost in 0..100u64, repeated in 0..128u64, damaged in 0..60u64, delay in 0..400u64,
    ) {
        let mut pair = Pair::new(seed, [lost, repeated, damaged, delay]);
        pair.ends.iter_mut().for_each(|end| end.config.patience = Duration::from_secs(3600));
        prop_assert!(pair.until(2000, Pair::is_up));
        for number in 0..40 {
            let ends = [number % 3 != 0, number % 5 != 0];
            for (end, sends) in ends.into_iter().enumerate() {
                prop_assert!(!sends || pair.ends[end].send(message(number)));
            }
            pair.step();
        }
        let due = |modulus: usize| (0..40).filter(move |n| n % modulus != 0).map(message).collect::<Vec<_>>();
        pair.until(20_000, |pair| pair.messages(1).len() >= due(3).len() && pair.messages(0).len() >= due(5).len());
        (0..50).for_each(|_| pair.step());
        prop_assert_eq!(pair.messages(1), due(3));
        prop_assert_eq!(pair.messages(0), due(5));
        prop_assert!(pair.ends.iter().all(|end| end.early.len() <= 2 * end.config.window));
    }
}

#[test]
fn silence_ends_a_conversation_and_another_begins() {
    let mut pair = Pair::new(7, [0; 4]);
    assert!(pair.until(50, Pair::is_up));
    assert!(pair.ends[0].send(message(5)));
    pair.cut = true;
    assert!(pair.until(1000, |pair| pair.ends.iter().all(|end| !end.is_up())));
    assert!(!pair.ends[0].send(message(6)), "there is nobody to send it to");
    pair.cut = false;
    assert!(pair.until(1000, Pair::is_up));
    assert!(pair.ends[0].send(message(9)));
    assert!(pair.until(100, |pair| !pair.messages(1).is_empty()));
    assert_eq!(pair.messages(1), [message(9)], "what was lost with the conversation before does not come in this one");
}

#[test]
fn a_peer_that_restarts_is_noticed_and_its_former_life_is_not_heard() {
    let mut pair = Pair::new(8, [0; 4]);
    assert!(pair.until(50, Pair::is_up));
    assert!(pair.ends[1].send(message(1)));
    let mut former = Vec::new();
    pair.ends[1].poll(pair.now, &mut Vec::new(), |packet| former.push(packet));
    let now = pair.now;
    pair.ends[1] = Link::new(config(), 4711, now);
    assert!(pair.until(100, |pair| pair.heard[0].contains(&Event::Restarted)));
    for packet in former {
        pair.under_way.push((now, 0, packet));
    }
    assert!(pair.until(100, Pair::is_up));
    assert!(pair.ends[1].send(message(2)) && pair.ends[0].send(message(3)));
    assert!(pair.until(100, |pair| !pair.messages(0).is_empty() && !pair.messages(1).is_empty()));
    assert_eq!((pair.messages(0), pair.messages(1)), (vec![message(2)], vec![message(3)]));
    assert_eq!(pair.heard[0].iter().filter(|event| **event == Event::Restarted).count(), 1);
}

#[test]
fn a_slow_peer_costs_a_window() {
    let mut pair = Pair::new(9, [0; 4]);
    assert!(pair.until(50, Pair::is_up));
    (0..100).for_each(|_| assert!(pair.ends[0].send(message(3))));
    let mut packets = 0;
    let now = pair.now;
    pair.ends[0].poll(now, &mut Vec::new(), |_| packets += 1);
    pair.ends[0].poll(now, &mut Vec::new(), |_| packets += 1);
    assert_eq!(packets, config().window);
}

#[test]
fn a_message_that_is_too_long_ends_the_conversation() {
    let mut pair = Pair::new(10, [0; 4]);
    assert!(pair.until(50, Pair::is_up));
    assert!(pair.ends[0].send(vec![1; 65].into()));
    assert!(pair.until(100, |pair| pair.heard[1].contains(&Event::Down)));
    assert!(pair.messages(1).is_empty() && pair.ends[1].partial.is_empty());
    assert!(pair.until(1000, Pair::is_up), "and the next one begins");
}

#[test]
fn a_packet_of_nobody_is_answered_and_not_believed() {
    let mut pair = Pair::new(11, [0; 4]);
    assert!(pair.until(50, Pair::is_up));
    let before = pair.heard[0].len();
    for to in [0, 99, pair.ends[1].me] {
        let packet = Packet { from: 12345, to, seq: 1, ack: 77, more: false, body: message(4) };
        pair.under_way.push((pair.now, 0, packet.encode()));
    }
    (0..20).for_each(|_| pair.step());
    assert_eq!(pair.heard[0].len(), before);
    assert!(pair.is_up());
}
