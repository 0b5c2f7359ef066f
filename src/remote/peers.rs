//! Which shards can be reached, for whoever is about to give them work.

use super::transport::Peer;
use crate::sync::{Condvar, Mutex};
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Peers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Each peer, in the order given, and whether it is up.
    up: Vec<(Peer, bool)>,
    open: bool,
}

impl Peers {
    pub(crate) fn new(peers: &[Peer]) -> Self {
        let up = peers.iter().map(|peer| (*peer, false)).collect();
        Self { state: Mutex::new(State { up, open: true }), changed: Condvar::default() }
    }

    pub(crate) fn set(&self, peer: Peer, up: bool) {
        if let Some((_, is_up)) = self.state.lock().up.iter_mut().find(|(other, _)| *other == peer) {
            *is_up = up;
        }
        self.changed.notify_all();
    }

    pub(crate) fn is_up(&self, peer: Peer) -> bool {
        self.state.lock().up.iter().any(|(other, is_up)| *other == peer && *is_up)
    }

    /// Nobody is up any more, and nobody waits for it.
    pub(crate) fn close(&self) {
        {
            let mut state = self.state.lock();
            state.open = false;
            state.up.iter_mut().for_each(|(_, is_up)| *is_up = false);
        }
        self.changed.notify_all();
    }

    /// The peers that are up, with their numbers, once there are `least` of them, or at the deadline.
    pub(crate) fn wait(&self, least: usize, deadline: Instant) -> Vec<(usize, Peer)> {
        let mut state = self.state.lock();
        let up = |state: &State| {
            let numbered = state.up.iter().enumerate();
            numbered.filter(|(_, (_, is_up))| *is_up).map(|(number, (peer, _))| (number, *peer)).collect::<Vec<_>>()
        };
        while state.open && up(&state).len() < least {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        up(&state)
    }
}
