//! A handler that may not be sent to the listener's thread.
use std::cell::Cell;
use std::rc::Rc;

use bywash::Listener;

fn main() {
    let (_producer, consumer) = bywash::bounded(8);
    let count = Rc::new(Cell::new(0));
    let count_it = move |_: String| count.set(count.get() + 1);
    let _ = Listener::spawn("log", consumer, count_it); //~ `Rc<Cell<i32>>` cannot be sent between
    //~ required by a bound in `Listener::spawn`
}
