//! Two threads that pop.
use std::thread;

fn main() {
    let (_producer, mut consumer) = bywash::bounded::<u8>(8);
    thread::scope(|scope| {
        let consumer = &mut consumer;
        scope.spawn(|| consumer.pop());
        scope.spawn(|| consumer.pop()); //~ two closures require unique access to `*consumer`
    });
}
