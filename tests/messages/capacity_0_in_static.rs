//! A static queue for no items.
use bywash::StaticQueue;

static QUEUE: StaticQueue<u8, 0, 16> = StaticQueue::new(); //~ capacity of a queue, N, must not be 0

fn main() {
    let _ = QUEUE.try_push(1);
}
