//! Items in a `static` that may not be sent.
use bywash::StaticQueue;

static QUEUE: StaticQueue<*const u8, 8, 0> = StaticQueue::new(); //~ `*const u8` cannot be sent
//~ required for `StaticQueue<*const u8, 8, 0>` to implement `Sync`

fn main() {
    let _ = QUEUE.try_push(std::ptr::null());
}
