//! Items that may not be sent to the thread of the consumer.
use std::rc::Rc;
use std::thread;

fn main() {
    let (producer, mut consumer) = bywash::bounded(8);
    producer.push(Rc::new(1)).unwrap();
    thread::spawn(move || consumer.pop().is_ok()); //~ `Rc<i32>` cannot be sent between threads
    //~ it appears within the type `Consumer<Rc<i32>>`
}
