//! What is neither a closure nor a `Handler`.
use bywash::Listener;

struct Lines;

fn main() {
    let (producer, consumer) = bywash::bounded(8);
    producer.push(String::from("hello")).unwrap();
    let _ = Listener::builder().spawn(consumer, Lines); //~ `Lines` does not handle items of type `String`
    //~ implement `Handler<String>` for it, or use a closure that takes a `String`
}
