//! A block by two executors, each with its part of the transactions, that tell each other what theirs did.

use super::script::{Interpreter, KEYS};
use super::{Case, HANG, Notes, Outcome};
use bytes::Bytes;
use cachekv::executor::{BlockExecutor, Effect, Elsewhere};
use cachekv::multiversion::TxIndex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// What one transaction did.
type Told = (TxIndex, Vec<(Bytes, Effect<u64, i64>)>);

/// One of the two.
struct Half<'h> {
    executor: &'h BlockExecutor,
    places: Elsewhere<Bytes, u64, i64>,
    /// What the other tells.
    told: Receiver<Told>,
    here: &'h (dyn Fn(&TxIndex) -> bool + Sync),
}

impl Case {
    /// Both parts must come to what the whole did. Values cross as values, and operands as operands.
    pub(super) fn divided(&self, due: &Outcome, [first, second]: [&BlockExecutor; 2], vm: &Interpreter) {
        let one = |index: &TxIndex| self.elsewhere.contains(index);
        let other = |index: &TxIndex| !one(index);
        let written = |here: &dyn Fn(&TxIndex) -> bool| {
            let notes = due.notes.iter().filter(|(index, ..)| here(index));
            let idle = Bytes::from_static(KEYS[2]); // declared, and mostly not written after all
            let keys = notes.map(|(index, _, writes)| {
                let written = writes.iter().map(|(key, _)| key.clone());
                (*index, written.filter(|key| *key != idle).chain([idle.clone()]).collect())
            });
            keys.collect::<Vec<(TxIndex, Vec<Bytes>)>>()
        };
        let (to_one, for_one) = channel();
        let (to_other, for_other) = channel();
        // Who hears nothing more has come to its end.
        let ones =
            Elsewhere::new(written(&other)).telling(written(&one), move |at, did| drop(to_other.send((at, did))));
        let others =
            Elsewhere::new(written(&one)).telling(written(&other), move |at, did| drop(to_one.send((at, did))));
        thread::scope(|scope| {
            scope.spawn(|| self.half(due, vm, Half { executor: first, places: ones, told: for_one, here: &one }));
            self.half(due, vm, Half { executor: second, places: others, told: for_other, here: &other });
        });
    }

    fn half(&self, due: &Outcome, vm: &Interpreter, half: Half<'_>) {
        let Half { executor, places, told, here } = half;
        let block = (0..).zip(&self.block).filter(|(index, _)| here(index)).map(|(_, script)| script.clone());
        let block: Vec<_> = block.collect();
        let awaited = due.notes.iter().filter(|(index, ..)| !here(index)).count();
        let resolver = places.clone();
        let done = thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..awaited {
                    let (index, did) = told.recv_timeout(HANG).expect("the other tells what it does");
                    did.into_iter().for_each(|(key, effect)| resolver.resolve(index, &key, effect).unwrap());
                }
            });
            self.execute(Some(executor), &block, Some(places), vm)
        });
        let notes: Notes = due.notes.iter().filter(|(index, ..)| here(index)).cloned().collect();
        assert_eq!((&done.cause, &done.batch, done.committed), (&None, &due.batch, due.committed), "divided");
        assert_eq!(done.notes, notes, "divided");
    }
}
