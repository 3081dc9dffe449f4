//! A consumer that threads share.
use std::sync::Arc;
use std::thread;

fn main() {
    let (_producer, consumer) = bywash::bounded::<u8>(8);
    let consumer = Arc::new(consumer);
    let other = consumer.clone();
    thread::spawn(move || other.is_empty()); //~ cannot be shared between threads safely
    //~ OneThreadPopsAtATime
    //~ it appears within the type `Consumer<u8>`
}
