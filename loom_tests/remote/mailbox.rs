//! The queue between threads: nothing is lost, nothing is let in beyond the bound or after the close, and nobody is left
//! waiting.

use crate::loom_tests::explore;
use crate::remote::mailbox::Mailbox;
use crate::sync::Arc;
use loom::thread;
use std::collections::VecDeque;
use std::time::Instant;

fn putting(mailbox: &Arc<Mailbox<u8>>, items: &'static [u8]) -> thread::JoinHandle<()> {
    let mailbox = Arc::clone(mailbox);
    thread::spawn(move || items.iter().for_each(|item| assert!(mailbox.push(*item))))
}

/// Two put in, one takes all until it has everything: each item comes, those of one thread in order.
#[test]
fn what_is_put_in_comes_out() {
    comes_out_by(None);
}

/// The same, taken by a deadline, which in a model never comes.
#[test]
fn what_is_put_in_comes_out_by_a_deadline() {
    comes_out_by(Some(Instant::now()));
}

fn comes_out_by(deadline: Option<Instant>) {
    explore(move || {
        let mailbox = Arc::new(Mailbox::new(8));
        let putters = [putting(&mailbox, &[1, 2]), putting(&mailbox, &[11])];
        let mut came = VecDeque::new();
        while came.len() < 3 {
            assert!(mailbox.take_all(&mut came, deadline));
        }
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        let of_the_first: Vec<_> = came.iter().copied().filter(|item| *item < 10).collect();
        assert_eq!((of_the_first, came.contains(&11)), (vec![1, 2], true));
    });
}

/// The same, taken one by one.
#[test]
fn what_is_put_in_comes_out_one_by_one() {
    explore(|| {
        let mailbox = Arc::new(Mailbox::new(8));
        let putter = putting(&mailbox, &[1, 2]);
        assert_eq!((mailbox.take(), mailbox.take()), (Some(1), Some(2)));
        putter.join().unwrap();
    });
}

/// Whoever waits leaves at the close, with what was let in before it.
#[test]
fn the_close_ends_a_wait() {
    explore(|| {
        let mailbox = Arc::new(Mailbox::new(8));
        let taker = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || std::iter::from_fn(|| mailbox.take()).collect::<Vec<_>>())
        };
        let putter = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.push(1))
        };
        mailbox.close();
        let let_in = putter.join().unwrap();
        assert_eq!(taker.join().unwrap(), if let_in { vec![1] } else { vec![] });
        assert!(!mailbox.push(2));
    });
}

/// Beyond the bound nothing is let in, whoever offers.
#[test]
fn a_full_queue_lets_nothing_in() {
    explore(|| {
        let mailbox = Arc::new(Mailbox::new(1));
        let offerers = [1, 2].map(|item| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.offer(item))
        });
        let let_in = offerers.into_iter().map(|offerer| offerer.join().unwrap()).filter(|let_in| *let_in).count();
        let mut came = VecDeque::new();
        mailbox.take_now(&mut came);
        assert_eq!((let_in, came.len()), (1, 1));
    });
}
