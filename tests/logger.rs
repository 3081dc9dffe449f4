//! The logger of the guide does not freeze the program when nobody reads its output, and knows when
//! it is in a child without its writer. What is logged after its end is not silently gone.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::env;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use bywash::Handler;

include!("../docs/logger.rs");

/// The logger over a small queue, whose output is stuck until the sender is dropped.
fn stuck_logger() -> (Logger, Sender<()>) {
    support::watch();
    let (go_on, may_go_on) = channel();
    let (queue, consumer) = bounded(4);
    let listener = Listener::spawn("log", consumer, move |_| _ = may_go_on.recv()).unwrap();
    (Logger { queue, listener }, go_on)
}

fn log_hello(logger: &Logger) {
    logger.log(&Record::builder().args(format_args!("hello")).build());
}

#[test]
fn it_is_what_the_guide_shows() {
    let guide = include_str!("../docs/logger.md");
    assert!(guide.contains(include_str!("../docs/logger.rs")));
}

#[test]
fn while_its_output_is_stuck_threads_that_log_go_on_and_lines_are_counted() {
    let (logger, go_on) = stuck_logger();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..100).for_each(|_| log_hello(&logger)));
        }
    });
    drop(go_on);
    logger.flush();
    logger.listener.stop(Duration::MAX).unwrap();
    let counts = logger.listener.counts();
    assert!(counts.lost != 0 && counts.unreported == 0);
    assert_eq!(logger.listener.handled() + counts.lost, 800);
}

#[cfg(unix)]
#[test]
fn in_a_daemon_it_pushes_nothing_that_nobody_would_write() {
    let (logger, go_on) = stuck_logger();
    let _ = logger.listener.flush(Duration::ZERO);
    // SAFETY: the child does what may be done there, writes to the standard error, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        log_hello(&logger);
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(i32::from(!logger.queue.is_empty())) };
    }
    let mut status = -1;
    // SAFETY: the address is valid.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    drop(go_on);
}

/// Writes nothing, and logs while the queue that it drains is closed, and in its destructor.
struct Sink(Producer<String>);

impl Handler<String> for Sink {
    fn handle(&mut self, _: String) {
        while !self.0.is_closed() {
            thread::yield_now();
        }
        info!("while it drains");
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        info!("in its destructor");
    }
}

#[test]
fn what_is_logged_after_stop_goes_to_the_standard_error() {
    support::watch();
    if env::var_os("BYWASH_IS_PROGRAM").is_some() {
        let (queue, consumer) = bounded(4);
        let sink = Sink(queue.downgrade());
        let listener = Listener::builder().spawn(consumer, sink).unwrap();
        let logger: &Logger = Box::leak(Box::new(Logger { queue, listener }));
        log::set_logger(logger).unwrap();
        log::set_max_level(LevelFilter::Info);
        info!("before");
        logger.listener.stop(Duration::MAX).unwrap();
        info!("by a thread that still runs");
        assert_eq!((logger.listener.handled(), logger.listener.counts().lost), (1, 0));
        return;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["what_is_logged_after_stop_goes_to_the_standard_error", "--exact", "--nocapture"])
        .env("BYWASH_IS_PROGRAM", "1")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let lines = ["while it drains", "in its destructor", "by a thread that still runs"];
    assert_eq!(said, lines.map(|line| format!("INFO: {line}\n")).concat());
}
