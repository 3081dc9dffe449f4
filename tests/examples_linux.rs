//! The examples for event loops and crashes print what they are meant to show.
#![cfg(all(feature = "std", target_os = "linux", not(any(bywash_loom, bywash_portable))))]

#[path = "support/example.rs"]
mod example;
mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};

use example::example;

/// Runs an example, which `cargo test` has built, to its end. If it hangs, the watchdog of this
/// process ends it.
fn run(name: &str, arguments: &[&str]) -> (Output, String, String) {
    support::watch();
    let output = example(name).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

/// Checks that the program dies of `signal`, as it would have without a reporter, and has reported
/// it.
#[track_caller]
fn crash(how: &str, signal: i32, reported: &str) -> String {
    let (output, out, err) = run("crash_reporter", &[how]);
    assert_eq!(output.status.signal(), Some(signal), "{output:?}");
    assert_eq!(out, "about to crash\n");
    let reports: Vec<&str> = err.lines().filter(|line| line.starts_with("crashed: ")).collect();
    assert_eq!(reports.len(), 1, "{err}");
    assert!(reports[0].starts_with(reported), "{err}");
    err
}

#[test]
fn crash_reporter_reports_and_dies_of_the_same_signal() {
    crash("segv", libc::SIGSEGV, "crashed: SIGSEGV, address 0x8, process ");
    crash("abort", libc::SIGABRT, "crashed: SIGABRT, address ");
}

#[test]
fn crash_reporter_reports_a_panic_that_cannot_unwind() {
    let err = crash("panic", libc::SIGABRT, "crashed: SIGABRT, address ");
    assert!(err.contains("on purpose"), "{err}");
}

#[cfg(feature = "eventfd")]
#[test]
fn poll_loop_misses_nothing_from_queue_socket_and_timer() {
    let (output, out, _) = run("poll_loop", &[]);
    assert!(output.status.success(), "{output:?}");
    let ticks = out.strip_prefix("queue: 3000 items\nsocket: one two three\ntimer: ").expect(&out);
    let ticks = ticks.strip_suffix(" ticks\n").expect(&out);
    // The socket alone takes 15 milliseconds.
    assert!(ticks.parse::<u32>().unwrap() >= 5, "{out}");
}

#[cfg(feature = "eventfd")]
#[test]
fn tokio_loop_pops_all_and_lets_others_run() {
    let (output, out, _) = run("tokio_loop", &[]);
    assert!(output.status.success(), "{output:?}");
    let turns = out.strip_prefix("4000 items, sum 7998000\nthe other task ran ").expect(&out);
    let turns = turns.strip_suffix(" times meanwhile\n").expect(&out);
    assert!(turns.parse::<u32>().unwrap() > 0, "{out}");
}

#[cfg(feature = "eventfd")]
#[test]
fn tokio_workers_pops_all_and_takes_no_other_task_for_the_consumer() {
    for _ in 0..10 {
        let (output, out, _) = run("tokio_workers", &[]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(out, "4000 items, sum 7998000, 0 of them through the bypass\n");
    }
}
