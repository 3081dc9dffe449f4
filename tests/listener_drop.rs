//! Dropping a listener waits for a handler that goes on, however long all of it takes, and leaves one
//! that is stuck.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::any::Any;
use std::io;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, thread};

use bywash::{Builder, Handler, Listener, ListenerBuilder, StopToken, bounded};
use support::watch;

const SHORT: Duration = Duration::from_millis(20);
/// Enough for a thread to get its turn while others work.
const LIMIT: Duration = Duration::from_secs(2);

/// Whether this process is the one that [`run_as_program`] has started.
fn is_program() -> bool {
    env::var_os("BYWASH_IS_PROGRAM").is_some()
}

/// Runs a test of this file as a program of its own. Returns what it has written on its standard
/// error, unless that is not `read`: then it ends while nobody reads.
fn run_as_program(test: &str, read: bool) -> (ExitStatus, String) {
    let program = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("BYWASH_IS_PROGRAM", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut program = program.unwrap();
    if read {
        let output = program.wait_with_output().unwrap();
        return (output.status, String::from_utf8(output.stderr).unwrap());
    }
    (program.wait().unwrap(), String::new())
}

#[test]
fn a_program_whose_handler_is_stuck_ends_and_says_how_much_is_left() {
    watch();
    if is_program() {
        let (log, consumer) = bounded(8);
        let stuck = |_| loop {
            thread::park();
        };
        let _listener = Listener::spawn("log", consumer, stuck).unwrap();
        (0..3).for_each(|line| log.push(line).unwrap());
        return;
    }
    let test = "a_program_whose_handler_is_stuck_ends_and_says_how_much_is_left";
    let (status, said) = run_as_program(test, true);
    assert!(status.success(), "{status}: {said}");
    assert_eq!(
        said,
        "bywash: dropped listener \"log\", stuck for 10s: timed out with 3 items left\n"
    );
}

/// The handler has the lock of the standard error, and nobody reads what it writes there.
#[test]
fn a_program_whose_handler_is_stuck_in_the_standard_error_ends() {
    watch();
    if is_program() {
        let (log, consumer) = bounded(8);
        let builder = Listener::builder().drop_timeout(SHORT);
        let _listener = builder.spawn(consumer, |line: String| eprintln!("{line}")).unwrap();
        log.push("more than a pipe holds. ".repeat(1 << 20)).unwrap();
        return;
    }
    let test = "a_program_whose_handler_is_stuck_in_the_standard_error_ends";
    assert!(run_as_program(test, false).0.success());
}

/// Has calls of a handler take long: each ends when the drop has seen that the one before has.
#[derive(Clone)]
struct Pace {
    stop: StopToken,
    /// What the drop has said then.
    deadline: Arc<Mutex<Option<Instant>>>,
    done: Sender<&'static str>,
}

impl Pace {
    fn new() -> (Self, Receiver<&'static str>) {
        let (done, calls) = channel();
        (Self { stop: StopToken::new(), deadline: Arc::default(), done }, calls)
    }

    fn call(&self, name: &'static str) {
        let mut deadline = self.deadline.lock().unwrap();
        while self.stop.deadline() <= *deadline {
            thread::yield_now();
        }
        *deadline = self.stop.deadline();
        self.done.send(name).unwrap();
    }

    fn listener(&self) -> ListenerBuilder {
        Listener::builder().stop_token(self.stop.clone()).drop_timeout(LIMIT)
    }
}

/// A handler or an item.
struct Slow(Pace);

impl Handler<u32> for Slow {
    fn handle(&mut self, _: u32) {
        self.0.call("handle");
    }

    fn on_lost(&mut self, _: u64) {
        self.0.call("on_lost");
    }

    fn on_flush(&mut self) -> io::Result<()> {
        self.0.call("on_flush");
        Ok(())
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.call("drop");
    }
}

#[test]
fn a_handler_that_goes_on_is_waited_for_however_long_it_takes_in_all() {
    watch();
    let (pace, calls) = Pace::new();
    let (producer, consumer) = bounded(100);
    let listener = pace.listener().spawn(consumer, Slow(pace.clone())).unwrap();
    (0..15).for_each(|item| producer.push(item).unwrap());
    let start = Instant::now();
    drop(listener);
    assert!(start.elapsed() > LIMIT, "or this shows nothing: a call takes a tenth of it, at least");
    assert_eq!(calls.try_iter().filter(|&call| call == "handle").count(), 15);
}

#[test]
fn whatever_call_of_the_handler_returns_the_drop_waits_on() {
    watch();
    let (pace, calls) = Pace::new();
    let (producer, consumer) = Builder::new(1).bypass(0).build();
    (0..3).for_each(|item| _ = producer.try_push_or_count(item));
    drop(pace.listener().spawn(consumer, Slow(pace.clone())).unwrap());
    assert!(calls.try_iter().eq(["handle", "on_lost", "on_flush", "drop"]));
}

struct GivesUp;

impl Handler<Slow> for GivesUp {
    fn handle(&mut self, _: Slow) {
        // Without a backtrace, for which an emulated processor takes seconds.
        resume_unwind(Box::new("on purpose"));
    }

    fn on_panic(&mut self, _: Box<dyn Any + Send>) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

#[test]
fn the_drop_waits_on_while_items_are_dropped_that_nobody_handles() {
    watch();
    let (pace, calls) = Pace::new();
    let (producer, consumer) = bounded(8);
    (0..5).for_each(|_| assert!(producer.push(Slow(pace.clone())).is_ok()));
    drop(pace.listener().spawn(consumer, GivesUp).unwrap());
    assert!(calls.try_iter().eq(["drop"; 5]));
}

#[test]
fn a_handler_that_returns_later_than_that_was_left_with_the_rest() {
    watch();
    let (go_on, may_go_on) = channel::<()>();
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(8);
    let handler = move |item| {
        let _ = may_go_on.recv();
        sender.send(item).unwrap();
    };
    let builder = Listener::builder().drop_timeout(SHORT);
    let listener = builder.spawn(consumer, handler).unwrap();
    (0..3).for_each(|item| producer.push(item).unwrap());
    drop(listener);
    assert!(producer.push(3).unwrap_err().is_closed());
    assert_eq!(handled.try_recv().ok(), None);
    drop(go_on);
    assert!(handled.iter().eq(0..3));
}
