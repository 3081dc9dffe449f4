//! Items that may not be sent from the thread of a producer.
use std::rc::Rc;
use std::thread;

fn main() {
    let (producer, _consumer) = bywash::bounded(8);
    thread::spawn(move || producer.push(Rc::new(1)).is_ok()); //~ `Rc<i32>` cannot be sent between
    //~ required for `Producer<Rc<i32>>` to implement `Send`
}
