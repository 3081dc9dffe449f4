//! A `Handler` of items of another type.
use bywash::{Handler, Listener};

struct Lines;

impl Handler<&'static str> for Lines {
    fn handle(&mut self, line: &'static str) {
        println!("{line}");
    }
}

fn main() {
    let (producer, consumer) = bywash::bounded(8);
    producer.push(String::from("hello")).unwrap();
    let _ = Listener::builder().spawn(consumer, Lines); //~ `Lines` does not handle items of type `String`
}
