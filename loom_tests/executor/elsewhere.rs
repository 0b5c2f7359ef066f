//! Outcomes from elsewhere: what arrives is taken, once, whenever it comes.

use crate::executor::effect::Effect;
use crate::executor::elsewhere::Elsewhere;
use crate::executor::parking::Parking;
use crate::loom_tests::explore;
use crate::sync::Arc;
use loom::thread;

/// Whatever arrives, before the block has begun or while its workers are about to sleep, is taken by one of them.
#[test]
fn every_arrival_is_taken() {
    explore(|| {
        let here: Elsewhere<u8, u8> = Elsewhere::new([(0, vec![1, 2])]);
        let from_there = {
            let there = here.clone();
            thread::spawn(move || {
                there.resolve(0, &1, Effect::Put(1)).unwrap();
                there.resolve(0, &2, Effect::NotWritten).unwrap();
            })
        };
        let parking = Arc::new(Parking::default());
        assert!(here.attach(Arc::clone(&parking)));
        let mut taken = Vec::new();
        loop {
            taken.extend(here.take().into_iter().map(|arrival| arrival.key));
            if taken.len() == 2 {
                break;
            }
            parking.wait(None, || !here.has_arrivals());
        }
        assert_eq!(taken, [1, 2]);
        from_there.join().unwrap();
        assert!(here.take().is_empty());
        assert_eq!(here.waiting_for(), None);
    });
}

/// Two workers that take at once get each arrival once between them.
#[test]
fn no_arrival_is_taken_twice() {
    explore(|| {
        let here: Elsewhere<u8, u8> = Elsewhere::new([(0, vec![1, 2])]);
        here.resolve(0, &1, Effect::NotWritten).unwrap();
        let other = {
            let here = here.clone();
            thread::spawn(move || {
                let second = here.resolve(0, &2, Effect::NotWritten);
                second.unwrap();
                here.take().len()
            })
        };
        let taken = here.take().len();
        assert_eq!(taken + other.join().unwrap() + here.take().len(), 2);
    });
}

/// Of two outcomes told of one key at once, one is used, and who told the other hears so.
#[test]
fn a_key_is_resolved_once() {
    explore(|| {
        let here: Elsewhere<u8, u8> = Elsewhere::new([(0, vec![1])]);
        let other = {
            let here = here.clone();
            thread::spawn(move || here.resolve(0, &1, Effect::Put(1)).is_ok())
        };
        let mine = here.resolve(0, &1, Effect::Put(2)).is_ok();
        assert!(mine != other.join().unwrap());
        assert_eq!(here.take().len(), 1);
    });
}

/// Of two blocks that are given the same outcomes at once, one has them.
#[test]
fn one_block_has_the_outcomes() {
    explore(|| {
        let here: Elsewhere<u8, u8> = Elsewhere::new([(0, vec![1])]);
        let other = {
            let here = here.clone();
            thread::spawn(move || here.attach(Arc::default()))
        };
        let mine = here.attach(Arc::default());
        assert!(mine != other.join().unwrap());
    });
}
