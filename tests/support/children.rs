//! Forked children. Each has a time limit and says in its exit status whether all was well.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

extern "C" fn end_as_a_hang(_signal: libc::c_int) {
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(HANG) }
}

const HANG: libc::c_int = 99;

/// Lets this process, a child, end soon. It takes a handler, as the first process of a namespace
/// ignores what would end it.
pub(crate) fn limit_time() {
    let handler = end_as_a_hang as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler does what it may do.
    unsafe { libc::signal(libc::SIGALRM, handler) };
    // SAFETY: it has no preconditions.
    unsafe { libc::alarm(30) };
}

/// Ends this process, a child, with the verdict on `run`: 0 unless it panics or hangs.
pub(crate) fn end_with(run: impl FnOnce()) -> ! {
    limit_time();
    // The test harness of the parent, which collects what is printed, is not there.
    set_hook(Box::new(|panic| {
        let mut text = String::new();
        let _ = writeln!(text, "in a child: {panic}");
        // SAFETY: the bytes are valid.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }));
    let has_failed = catch_unwind(AssertUnwindSafe(run)).is_err();
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(has_failed.into()) }
}

/// Runs `run` in a child, and states that nothing was wrong there.
#[track_caller]
pub(crate) fn in_child(run: impl FnOnce()) {
    // SAFETY: the child has this thread, uses no lock that others may have held, and ends here.
    match unsafe { libc::fork() } {
        0 => end_with(run),
        child => assert_ended_well(child),
    }
}

#[track_caller]
pub(crate) fn assert_ended_well(child: libc::pid_t) {
    assert!(child > 0, "no child");
    let mut status = -1;
    // SAFETY: the address is valid.
    let ended = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(ended, child, "not ended");
    assert!(libc::WIFEXITED(status), "the child's status is {status}");
    assert_eq!(libc::WEXITSTATUS(status), 0, "of the child; {HANG} is a hang");
}

/// The child's copy of what the parent has, as its own. The child ends before it leaves the scope
/// of the original.
pub(crate) fn copy_of<T>(original: &T) -> T {
    // SAFETY: the callers use only one of the two from here on.
    unsafe { std::ptr::read(original) }
}
