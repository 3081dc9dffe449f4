//! A push whose result is ignored.
#![deny(unused_must_use)]

fn main() {
    let (producer, _consumer) = bywash::bounded(8);
    producer.push("hello"); //~ unused `Result` that must be used
}
