//! A library that starts a listener when it is loaded. For `tests/cdylib.rs`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bywash::{Listener, Producer};

static LOG: OnceLock<(Producer<u32>, Listener)> = OnceLock::new();
static SUM: AtomicU32 = AtomicU32::new(0);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

/// The loader calls this, and holds its lock.
extern "C" fn start() {
    let (producer, consumer) = bywash::bounded(8);
    producer.push(1).unwrap();
    let add = |item| _ = SUM.fetch_add(item, Ordering::Relaxed);
    let listener = Listener::spawn("listener", consumer, add).unwrap();
    producer.push(2).unwrap();
    assert!(LOG.set((producer, listener)).is_ok());
}

/// Pushes, and returns whether that went well.
#[unsafe(no_mangle)]
pub extern "C" fn log_push(item: u32) -> bool {
    LOG.get().unwrap().0.push(item).is_ok()
}

/// Flushes, and returns the sum of what was handled, or 0 for an error.
#[unsafe(no_mangle)]
pub extern "C" fn log_flush() -> u32 {
    let flushed = LOG.get().unwrap().1.flush(Duration::MAX);
    flushed.map_or(0, |()| SUM.load(Ordering::Relaxed))
}
