//! The file under an embedded store, which no write reaches before the store has been recognised.
//!
//! A database writes when it is opened: it repairs what a crash left, and marks the file as in use. That must not happen
//! to a file that turns out to be somebody else's, or too damaged to use. So until [`Gate::pass`] is called, whatever the
//! database writes is kept in memory, and shown to it over the file's contents. `pass` then makes the same calls to the
//! file in the same order, syncs included: to a crash in the middle they are what they would have been without a gate.
//! A gate that is never passed leaves the file as it was.

use crate::sync::{AtomicBool, Mutex, Ordering};
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::Arc;

/// A database file behind a gate; clones share both.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: FileBackend,
    /// Set once, when `held` has been played to the file; from then on calls go straight there.
    passed: AtomicBool,
    held: Mutex<Vec<Call>>,
}

/// A call that changes the file.
#[derive(Debug)]
enum Call {
    Write { offset: u64, data: Vec<u8> },
    Resize(u64),
    Sync,
}

impl Gate {
    /// Puts `file` behind a closed gate.
    pub(super) fn new(file: FileBackend) -> Self {
        Self(Arc::new(Inner { file, passed: AtomicBool::new(false), held: Mutex::new(Vec::new()) }))
    }

    /// Lets through what was held back and all that follows. After an error the file is as after a crash at that point.
    pub(super) fn pass(&self) -> io::Result<()> {
        let mut held = self.0.held.lock();
        for call in held.drain(..) {
            match call {
                Call::Write { offset, data } => self.0.file.write(offset, &data)?,
                Call::Resize(len) => self.0.file.set_len(len)?,
                Call::Sync => self.0.file.sync_data()?,
            }
        }
        // Release: who sees the mark sees the file with everything played to it.
        self.0.passed.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes the call now if the gate is passed, and keeps it otherwise.
    fn change(&self, now: impl FnOnce(&FileBackend) -> io::Result<()>, call: impl FnOnce() -> Call) -> io::Result<()> {
        if self.passed() {
            return now(&self.0.file);
        }
        self.0.held.lock().push(call());
        Ok(())
    }

    fn passed(&self) -> bool {
        self.0.passed.load(Ordering::Acquire)
    }
}

impl StorageBackend for Gate {
    fn len(&self) -> io::Result<u64> {
        let len = self.0.file.len()?;
        if self.passed() {
            return Ok(len);
        }
        Ok(self.0.held.lock().iter().fold(len, |len, call| match call {
            Call::Write { offset, data } => len.max(offset.saturating_add(data.len() as u64)),
            Call::Resize(len) => *len,
            Call::Sync => len,
        }))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.passed() {
            return self.0.file.read(offset, out);
        }
        if offset.saturating_add(out.len() as u64) > self.len()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (in_file, beyond) = out.split_at_mut(within(out.len(), offset, self.0.file.len()?));
        self.0.file.read(offset, in_file)?;
        beyond.fill(0);
        for call in self.0.held.lock().iter() {
            match call {
                Call::Write { offset: start, data } => overlay(out, offset, data, *start),
                // What a shrinking cuts off reads as zero if the file grows again.
                Call::Resize(len) => {
                    let kept = within(out.len(), offset, *len);
                    out.iter_mut().skip(kept).for_each(|byte| *byte = 0);
                }
                Call::Sync => {}
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|file| file.write(offset, data), || Call::Write { offset, data: data.to_vec() })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|file| file.set_len(len), || Call::Resize(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(FileBackend::sync_data, || Call::Sync)
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    // Locks change no content: they are taken on the file itself, from the start.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

/// How many of the `len` bytes from `offset` on lie before `end`.
fn within(len: usize, offset: u64, end: u64) -> usize {
    usize::try_from(end.saturating_sub(offset)).map_or(len, |before| before.min(len))
}

/// Lays `data`, which begins at `start`, over `out`, which begins at `offset`.
fn overlay(out: &mut [u8], offset: u64, data: &[u8], start: u64) {
    let into = within(out.len(), offset, start);
    let from = within(data.len(), start, offset);
    out.iter_mut().skip(into).zip(data.iter().skip(from)).for_each(|(out, byte)| *out = *byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gate over a temporary file that holds `contents`.
    fn gate(contents: &[u8]) -> (Gate, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), contents).unwrap();
        (Gate::new(FileBackend::new(file.reopen().unwrap()).unwrap()), file)
    }

    fn contents(file: &tempfile::NamedTempFile) -> Vec<u8> {
        std::fs::read(file.path()).unwrap()
    }

    fn seen(gate: &Gate) -> Vec<u8> {
        let mut bytes = vec![7; gate.len().unwrap() as usize];
        gate.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_closed_gate_shows_what_was_written_and_keeps_the_file() {
        let (gate, file) = gate(b"abcdef");
        gate.write(1, b"XY").unwrap();
        gate.write(2, b"Z").unwrap();
        gate.set_len(4).unwrap();
        gate.set_len(8).unwrap();
        gate.write(7, b"!?").unwrap();
        gate.sync_data().unwrap();
        assert_eq!(seen(&gate), b"aXZd\0\0\0!?");
        let mut middle = [0; 2];
        gate.read(2, &mut middle).unwrap();
        assert_eq!(&middle, b"Zd");
        assert_eq!(gate.read(8, &mut middle).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(contents(&file), b"abcdef");
    }

    #[test]
    fn passing_plays_everything_to_the_file() {
        let (gate, file) = gate(b"abcdef");
        gate.set_len(3).unwrap();
        gate.set_len(5).unwrap();
        gate.write(4, b"E").unwrap();
        let before = seen(&gate);
        gate.pass().unwrap();
        assert_eq!(contents(&file), before);
        assert_eq!(before, b"abc\0E");
        gate.write(0, b"A").unwrap();
        assert_eq!(contents(&file), b"Abc\0E");
        assert_eq!(seen(&gate), b"Abc\0E");
    }
}
