//! A static queue between a signal handler and the program, without `std` and without an allocator.
//!
//! ```text
//! cargo run --manifest-path examples/no_std/Cargo.toml
//! ```
//!
//! Raises more signals than the queue holds. Prints those that came through it, and how many were
//! refused.
//!
//! It uses a few functions of the C library; on bare metal, an interrupt and a serial port take
//! their place.
#![no_std]
#![no_main]

use core::ffi::{c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bywash::{StaticConsumer, StaticQueue};

#[link(name = "c")]
unsafe extern "C" {
    fn write(file: c_int, bytes: *const c_void, count: usize) -> isize;
    fn signal(signal: c_int, handler: extern "C" fn(c_int)) -> usize;
    safe fn raise(signal: c_int) -> c_int;
    safe fn abort() -> !;
}

/// The same on all systems.
const SIGTERM: c_int = 15;
const SIGINT: c_int = 2;
/// What `signal` returns when it failed.
const SIG_ERR: usize = usize::MAX;

const CAPACITY: usize = 4;
/// Without `std` the queue cannot tell threads apart and does not use the bypass, so that needs no
/// slots.
type Events = StaticQueue<c_int, CAPACITY, 0>;
static EVENTS: Events = Events::new();
static REFUSED: AtomicU32 = AtomicU32::new(0);

extern "C" fn on_signal(signal: c_int) {
    if EVENTS.try_push(signal).is_err() {
        REFUSED.fetch_add(1, Relaxed);
    }
}

/// A file descriptor, to print to.
struct File(c_int);

impl Write for File {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            // SAFETY: the address and the length are those of a slice.
            let written = unsafe { write(self.0, rest.as_ptr().cast(), rest.len()) };
            rest = usize::try_from(written)
                .ok()
                .and_then(|written| rest.get(written..))
                .ok_or(fmt::Error)?;
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(File(2), "{info}");
    abort()
}

/// The `core` that comes with the compiler can unwind, and so refers to this function. Nothing
/// unwinds here, so it is never called.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Raises `signals` signals, and prints what became of them.
fn round(signals: usize, events: &mut StaticConsumer<'_, c_int, CAPACITY, 0>) -> fmt::Result {
    for number in 0..signals {
        raise(if number % 2 == 0 { SIGTERM } else { SIGINT });
    }
    for signal in events.try_iter() {
        writeln!(File(1), "signal {signal}")?;
    }
    writeln!(File(1), "{} of {signals} refused", REFUSED.swap(0, Relaxed))
}

fn run() -> fmt::Result {
    let mut events = EVENTS.consumer().expect("nobody else claims it");
    for number in [SIGTERM, SIGINT] {
        // SAFETY: the handler does only what handlers may do.
        if unsafe { signal(number, on_signal) } == SIG_ERR {
            return Err(fmt::Error);
        }
    }
    round(CAPACITY, &mut events)?;
    round(CAPACITY + 3, &mut events)
}

/// The C library calls this. What it returns is the exit code of the program.
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    run().is_err().into()
}
