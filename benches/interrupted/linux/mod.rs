//! All of it, as it works on x86-64 Linux.

mod asleep;
mod board;
#[allow(dead_code, reason = "some is for the tests")]
#[path = "../../../tests/support/stepping/child.rs"]
mod child;
mod costs;
mod examination;
#[allow(dead_code, reason = "some is for measuring")]
#[path = "../../compare/machine.rs"]
mod machine;
#[allow(dead_code, reason = "some is for measuring")]
#[path = "../../markdown.rs"]
mod markdown;
mod options;
mod queues;
mod record;
mod reentered;
mod report;
#[allow(dead_code, unused_imports, unused_macros, reason = "some is for measuring")]
#[path = "../../rivals/mod.rs"]
mod rivals;
#[allow(dead_code, reason = "some is for the tests")]
#[path = "../../../tests/support/signals.rs"]
mod signals;
mod threads;
#[allow(dead_code, reason = "some is for the tests")]
#[path = "../../../tests/support/stepping/trap.rs"]
mod trap;
mod waiting;
mod watch;

use std::error::Error;

use options::Command;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    match options::parse()? {
        Command::Nothing => Ok(()),
        Command::Check => {
            prepare();
            examination::check().map_err(Into::into)
        }
        Command::Only(pattern) => {
            prepare();
            print!("{}", report::tables(&examination::examine(&pattern)));
            Ok(())
        }
        Command::Everything => {
            prepare();
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/INTERRUPTED.md");
            let examinations = examination::examine("");
            std::fs::write(path, report::markdown(&examinations))?;
            println!("Written to {path}");
            Ok(())
        }
    }
}

/// Has children fail without a word, and makes this a process that has had threads: the allocator
/// leaves out its locks in others.
fn prepare() {
    let nothing = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the address is valid.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &nothing) };
    std::thread::spawn(|| {}).join().expect("it does nothing");
    board::board();
}
