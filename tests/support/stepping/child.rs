//! A process of its own for each try, so that a hang or a crash is a result.

#[path = "../barriers.rs"]
mod barriers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// A child that runs for so long hangs. It takes far less than a second, but the time goes on while
/// the machine is busy with others, or while all of this is stopped.
const LIMIT_SECONDS: u32 = 120;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It exited with this code.
    Exit(i32),
    Hang,
    /// This signal ended it.
    Crash(i32),
}

/// The exit code of a child that panicked.
pub(crate) const PANICKED: i32 = 101;

/// Forks, and returns 0 in the child, which is killed if it hangs. Uses the system call, because
/// the library's `fork` would take locks that an interrupted call may hold.
pub(crate) fn fork() -> libc::pid_t {
    // SAFETY: only this thread goes on in the child; the tests fork where it needs no other.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } as libc::pid_t;
    assert!(child >= 0, "fork failed");
    if child == 0 {
        watch();
        barriers::register();
    }
    child
}

/// Kills this process when the time is over, unless the process calls this again before.
pub(crate) fn watch() {
    // SAFETY: it has no preconditions.
    unsafe { libc::alarm(LIMIT_SECONDS) };
}

/// Waits for the end of a child.
pub(crate) fn wait(child: libc::pid_t) -> Ending {
    let mut status = 0;
    loop {
        // SAFETY: the address is valid.
        let waited = unsafe { libc::waitpid(child, &mut status, 0) };
        if waited == child {
            break;
        }
    }
    match libc::WTERMSIG(status) {
        _ if libc::WIFEXITED(status) => Ending::Exit(libc::WEXITSTATUS(status)),
        libc::SIGALRM => Ending::Hang,
        signal => Ending::Crash(signal),
    }
}

/// Leaves the process at once.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Runs `body` in a child. Its result is the exit code.
pub(crate) fn in_child(body: impl FnOnce() -> i32) -> Ending {
    match fork() {
        0 => exit(catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED)),
        child => wait(child),
    }
}

/// A value that a process shares with its children.
pub(crate) fn shared<T: Default>() -> &'static T {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping overlaps no other.
    let address = unsafe { libc::mmap(ptr::null_mut(), size_of::<T>(), protection, flags, -1, 0) };
    assert_ne!(address, libc::MAP_FAILED);
    // SAFETY: the mapping is large enough, aligned to a page, and used by no other code.
    unsafe { address.cast::<T>().write(T::default()) };
    // SAFETY: just written, and never unmapped.
    unsafe { &*address.cast::<T>() }
}

/// Where an address lies in the program's file, for `addr2line`.
pub(crate) fn in_file(address: usize) -> usize {
    unsafe extern "C" {
        static __executable_start: u8;
    }
    address.wrapping_sub(&raw const __executable_start as usize)
}
