//! A wall clock that jumps: a library by itself, put before the C library in a process under test.
//!
//! Whoever asks for the time of day gets an hour too much and an hour too little by turns. The monotonic clock stays as it is.
//! That somebody has asked is told by the file that `WALL_CLOCK_ASKED` names.

use std::ffi::{c_int, c_long};
use std::sync::Once;
use std::sync::atomic::{AtomicI64, Ordering};

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

const CLOCK_GETTIME: c_long = if cfg!(target_arch = "x86_64") { 228 } else { 113 };
const CLOCK_REALTIME: c_int = 0;
const HOUR: i64 = 3600;

/// What the C library says, but for the wall clock.
///
/// # Safety
/// `time` points to where a `timespec` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    static ASKED: Once = Once::new();
    static JUMP: AtomicI64 = AtomicI64::new(HOUR);
    // Safety: the system's own call, with what the caller gave.
    let answer = unsafe { syscall(CLOCK_GETTIME, clock, time) };
    if clock == CLOCK_REALTIME && answer == 0 {
        let jump = JUMP.fetch_xor(HOUR ^ -HOUR, Ordering::Relaxed);
        // Safety: the call above has just written there.
        unsafe { (*time).seconds += jump };
        ASKED.call_once(|| drop(std::env::var_os("WALL_CLOCK_ASKED").map(|file| std::fs::write(file, "yes"))));
    }
    if answer == 0 { 0 } else { -1 }
}
