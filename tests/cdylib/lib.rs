//! A library that is loaded at run time and owns a queue. For `tests/cdylib.rs`.

use std::cell::Cell;

use bywash::StaticQueue;

static QUEUE: StaticQueue<u32, 2, 1> = StaticQueue::new();

std::thread_local! {
    static OWN: Cell<u8> = const { Cell::new(1) };
}

/// For signal handlers: pushes, and returns 0 for done, 1 for full, 2 for closed.
#[unsafe(no_mangle)]
pub extern "C" fn queue_push(item: u32) -> i32 {
    match QUEUE.try_push(item) {
        Ok(()) => 0,
        Err(error) if error.is_full() => 1,
        Err(_) => 2,
    }
}

/// For signal handlers: whether this is the consumer's thread or one in its domain.
#[unsafe(no_mangle)]
pub extern "C" fn queue_is_inside() -> bool {
    QUEUE.must_not_wait()
}

/// Claims the consumer, binds it to the calling thread, enters the domain there, and calls
/// `meanwhile`. Returns the sum of the items that are left then.
#[unsafe(no_mangle)]
pub extern "C" fn queue_consume(meanwhile: extern "C" fn()) -> u32 {
    let mut consumer = QUEUE.consumer().unwrap();
    let _inside = consumer.domain().enter();
    consumer.bind();
    meanwhile();
    consumer.try_iter().sum()
}

/// Makes a queue, and binds its consumer to the calling thread. Returns whether that panicked.
#[unsafe(no_mangle)]
pub extern "C" fn bind() -> bool {
    std::panic::catch_unwind(|| bywash::bounded::<u8>(1).1.bind()).is_err()
}

/// Touches a thread-local of this library, as `try_push` must not.
#[unsafe(no_mangle)]
pub extern "C" fn touch_thread_local() -> u8 {
    OWN.with(Cell::get)
}
