//! Which threads a forked child has: the one that forked, and those that the child starts.
//!
//! All other threads exist in the parent alone, and the child has a copy of their memory as the
//! fork found it. A push in the child must not wait for such a thread, and what it was doing there
//! is never done.
//!
//! * **F1** *A process has a name:* how many forks lie between it and the first process, and its
//!   process id. A process has none of its ancestors' names, as a handler of `pthread_atfork`
//!   counts each fork in the child. A fork that runs no handlers (`_Fork`, a bare `clone`) is known
//!   by the process id alone. That is an ancestor's only if each is the first process of a
//!   namespace, or if the ancestor has ended and the system uses its id again.
//! * **F2** *Who is here.* A thread that may be waited for has a record (`records.rs`), which says
//!   in which process it is: the one that it was numbered in. In a child the handler corrects the
//!   record of the only thread. So a thread whose record names another process stayed there. After
//!   a fork without handlers that looks so for the thread that forked, too: then a push is refused
//!   rather than stuck, until the consumer binds again. A thread that has ended has given its
//!   record back, and its consumer counts as unbound. But a thread that the system has ended
//!   (`SYS_exit`, a filter) ran no destructors: its record is there, and the thread is not. On
//!   Linux the system says so, unless it has given the thread's id to another one meanwhile. Such a
//!   thread counts as one that stayed in another process.
//! * **F3** *A push asks before each sleep,* which takes two system calls more. A consumer that is
//!   bound to a thread that is gone is not waited for. (An unbound one is: somebody may yet bind
//!   it.)
//! * **F4** *A fork in a signal handler* comes at any instruction of a push, and the child returns
//!   from the handler into the push. If that sleeps, its sleep ends: it has a timeout, and such a
//!   system call is not restarted after a handler. If the push was between the question and the
//!   sleep, it sleeps for `LONGEST_SLEEP`, and asks again. If the fork comes in the middle of the
//!   question, the answer that the thread is gone may be about the parent. So it counts only if the
//!   process is still the same.
//! * **F5** *No lock.* Whatever a child calls must not wait for a thread that was in the middle of
//!   something. Ring, bypass and sleepers have no lock, and neither has what a `Listener` shares
//!   with its thread.
//! * **F6** *What was begun* stays as it was: a claim that was not published stays claimed, and its
//!   slot in use, until the consumer [recovers](crate::Consumer::recover), R7.
//! * **F7** *A push that signals an event loop* may make no other system call. So the descriptor is
//!   kept with the count of forks alone (`sleep/event_fd.rs`), and a fork without handlers is not
//!   noticed there.
//!
//! All accesses here are Relaxed but those of the flag that says that forks are counted: the
//! handler runs in the only thread, and the child starts others afterwards. A consumer that binds
//! while another thread asks is seen unbound, or bound in its process (`[bind:R]` in `members.rs`).

use crate::threads::records;

pub(crate) use system::{process, system_id, thread_exists, watch};

cfg_event_fd! {
    pub(crate) use system::count;
}

/// Whether a thread is not in this process, F2. `number` says what its number is, or 0 if there is
/// none by now. For signal handlers too.
pub(crate) fn is_gone(number: impl Fn() -> u64) -> bool {
    loop {
        let here = process();
        let number = number();
        let Some(record) = records::of(number) else { return false };
        if record.has_ended() || record.process() == here && thread_exists(record.system_id()) {
            return false;
        }
        // F4: a handler that forked meanwhile may have let a thread of the child bind. And what was
        // read may be about another thread that has the record by now.
        if process() == here && record.number() == number {
            return true;
        }
    }
}

#[cfg(all(unix, not(bywash_loom)))]
mod system {
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use crate::threads::identity;

    static FORKS: AtomicU32 = AtomicU32::new(0);

    /// The name of this process, F1. Never 0.
    pub(crate) fn process() -> u64 {
        (u64::from(count()) << 32) | u64::from(std::process::id())
    }

    /// The half of the name that takes no system call, F7.
    pub(crate) fn count() -> u32 {
        FORKS.load(Ordering::Relaxed)
    }

    /// Has forks counted from here on. Not for signal handlers.
    pub(crate) fn watch() {
        static WATCHED: AtomicBool = AtomicBool::new(false);
        if !WATCHED.load(Ordering::Acquire) {
            // Where there is no memory for it, a fork is one without handlers.
            // SAFETY: the handler does what it may do wherever `fork` may be called.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
            // Only now: a child that finds this set has the handler. Where several threads come
            // here at a time, forks count twice, which does no harm.
            WATCHED.store(true, Ordering::Release);
        }
    }

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
        identity::is_in_child();
    }

    /// The id that the system has for the calling thread, or 0 where it is of no use.
    pub(crate) fn system_id() -> i32 {
        #[cfg(target_os = "linux")]
        // SAFETY: it has no preconditions.
        return unsafe { libc::syscall(libc::SYS_gettid) } as i32;
        #[cfg(not(target_os = "linux"))]
        0
    }

    /// Whether this process has a thread of that id. `true` where nobody can tell.
    pub(crate) fn thread_exists(system_id: i32) -> bool {
        #[cfg(target_os = "linux")]
        if system_id != 0 {
            let (process, no_signal) = (std::process::id(), 0);
            return crate::errno::keep_errno(|| {
                // SAFETY: it takes no addresses, and sends nothing.
                let result =
                    unsafe { libc::syscall(libc::SYS_tgkill, process, system_id, no_signal) };
                let error = std::io::Error::last_os_error().raw_os_error();
                result == 0 || error != Some(libc::ESRCH)
            });
        }
        let _ = system_id;
        true
    }
}

/// There is no fork, or none in a model.
#[cfg(not(all(unix, not(bywash_loom))))]
mod system {
    pub(crate) fn process() -> u64 {
        1
    }

    pub(crate) fn system_id() -> i32 {
        0
    }

    pub(crate) fn thread_exists(_system_id: i32) -> bool {
        true
    }

    pub(crate) fn watch() {}
}
