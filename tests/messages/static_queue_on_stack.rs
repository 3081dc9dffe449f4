//! A listener of a static queue that is none.
use bywash::{Listener, StaticQueue};

fn main() {
    let queue = StaticQueue::<String, 8, 0>::new();
    let consumer = queue.consumer().unwrap(); //~ `queue` does not live long enough
    let _ = Listener::spawn("log", consumer, |line| println!("{line}"));
    //~ requires that `queue` is borrowed for `'static`
}
