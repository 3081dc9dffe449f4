//! A consumer that is not `mut`.
fn main() {
    let (_producer, consumer) = bywash::bounded::<u8>(8);
    let _ = consumer.pop(); //~ cannot borrow `consumer` as mutable
    //~ let (_producer, mut consumer)
}
