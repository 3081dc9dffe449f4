//! A handler that returns what it should handle.
use std::io::{Write, stdout};

use bywash::Listener;

fn main() {
    let (_producer, consumer) = bywash::bounded(8);
    let _ = Listener::spawn("log", consumer, |line: String| {
        writeln!(stdout(), "{line}") //~ mismatched types
        //~ expected `()`, found `Result<(), Error>`
    });
}
