//! What stands between a coordinator and a shard: forwards bytes, and delays, withholds or cuts them as it is told.

use super::wiretap::{Event, Reader, Step};
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub struct Proxy {
    pub address: String,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    open: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
    /// How many bytes a connection carries before it is cut, 0 for any number.
    cut_after: AtomicU64,
    /// How long each piece is delayed.
    delay_us: AtomicU64,
    /// Whether what comes is read and thrown away, or not read at all.
    hole: AtomicBool,
    stall: AtomicBool,
    cuts: AtomicU64,
    /// What is to happen at a step, and whether it has.
    event: Mutex<Option<Event>>,
    happened: AtomicBool,
}

impl Proxy {
    pub fn to(shard: String) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let inner = Arc::new(Inner::default());
        let own = Arc::clone(&inner);
        std::thread::spawn(move || {
            for one in socket.incoming().map(Result::unwrap) {
                if own.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(other) = TcpStream::connect(&shard) else { continue };
                drop((one.set_nodelay(true), other.set_nodelay(true)));
                own.open.lock().extend([one.try_clone().unwrap(), other.try_clone().unwrap()]);
                let carried = Arc::new(AtomicU64::new(0));
                let both = [(one.try_clone().unwrap(), other.try_clone().unwrap(), true), (other, one, false)];
                for (from, to, down) in both {
                    let (inner, carried) = (Arc::clone(&own), Arc::clone(&carried));
                    std::thread::spawn(move || inner.forward(from, to, down, &carried));
                }
            }
        });
        Self { address, inner }
    }

    /// Every connection is cut when it has carried so many bytes; 0 for never.
    pub fn cut_after(&self, bytes: u64) {
        self.inner.cut_after.store(bytes, Ordering::Relaxed);
    }

    /// Every piece of at most 4 KiB is delayed.
    pub fn delay(&self, by: Duration) {
        self.inner.delay_us.store(by.as_micros() as u64, Ordering::Relaxed);
    }

    /// Whether connections stay open and nothing comes through.
    pub fn swallow(&self, all: bool) {
        self.inner.hole.store(all, Ordering::Relaxed);
    }

    /// Whether connections stay open and nothing is read from them.
    pub fn stall(&self, all: bool) {
        self.inner.stall.store(all, Ordering::Relaxed);
    }

    /// `act` happens at `step`, counted from now.
    pub fn at(&self, step: Step, act: impl FnOnce() + Send + 'static) {
        self.inner.happened.store(false, Ordering::SeqCst);
        *self.inner.event.lock() = Some(Event { step, seen: 0, act: Box::new(act) });
    }

    /// Whether the step has come; waits for what happens at it.
    pub fn has_happened(&self) -> bool {
        let come = self.inner.event.lock().is_none();
        while come && !self.inner.happened.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        come
    }

    /// Cuts every connection there is.
    pub fn cut(&self) {
        for stream in self.inner.open.lock().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Connections that were cut for what they had carried.
    pub fn cuts(&self) -> u64 {
        self.inner.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.address));
        self.cut();
    }
}

impl Inner {
    fn forward(&self, mut from: TcpStream, mut to: TcpStream, down: bool, carried: &AtomicU64) {
        let mut bytes = [0; 4096];
        let mut reader = Reader::default();
        while let Ok(len @ 1..) = from.read(&mut bytes) {
            while self.stall.load(Ordering::Relaxed) && !self.stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(2));
            }
            let after = self.cut_after.load(Ordering::Relaxed);
            let so_far = carried.fetch_add(len as u64, Ordering::Relaxed) + len as u64;
            if after > 0 && so_far > after {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                break;
            }
            std::thread::sleep(Duration::from_micros(self.delay_us.load(Ordering::Relaxed)));
            let hole = self.hole.load(Ordering::Relaxed);
            let mut pass = |bytes: &[u8]| hole || to.write_all(bytes).is_ok();
            let passed = match self.event_in(&mut reader, &bytes[..len], down) {
                None => pass(&bytes[..len]),
                Some((at, event)) => {
                    let at = if event.step.passed { len } else { at };
                    let before = pass(&bytes[..at]);
                    (event.act)();
                    self.happened.store(true, Ordering::SeqCst);
                    before && pass(&bytes[at..len])
                }
            };
            if !passed {
                break;
            }
        }
        drop((to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both)));
    }

    /// What is to happen at these bytes, and before which of them.
    fn event_in(&self, reader: &mut Reader, bytes: &[u8], down: bool) -> Option<(usize, Event)> {
        let mut messages = reader.read(bytes).into_iter();
        let mut waiting = self.event.lock();
        let (at, _) = messages.find(|(_, begins)| waiting.as_mut().is_some_and(|event| event.is_it(down, *begins)))?;
        waiting.take().map(|event| (at, event))
    }
}
