//! A handler of items of another type.
use bywash::Listener;

fn main() {
    let (producer, consumer) = bywash::bounded(8);
    producer.push(String::from("hello")).unwrap();
    let _ = Listener::spawn("log", consumer, |line: &str| println!("{line}")); //~ type mismatch
    //~ expected closure signature `fn(String)
    //~ found closure signature `fn(&str)
}
