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
//! * **F2** *Who is here.* A thread that may be waited for has a number (I1) and remembers the name
//!   of the process in which it bound. If that is this process, the thread was started here, or
//!   forked here. If not, it is here only if the latest fork was its own: the handler notes the
//!   number of the thread that forked, and the name of the child. Numbers are not given out twice,
//!   so an earlier fork cannot be mistaken for a later one. After a fork without handlers nobody is
//!   noted: then all threads that bound earlier count as gone, and a push is refused rather than
//!   stuck, until the consumer binds again.
//! * **F3** *A push asks before each sleep,* which takes a system call more. A consumer that is
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
//!   kept with the count of forks alone (`wait/event_fd.rs`), and a fork without handlers is not
//!   noticed there.
//!
//! All accesses here are Relaxed but those of the flag that says that forks are counted: the
//! handler runs in the only thread, and the child starts others afterwards. A consumer that binds
//! while another thread asks is seen unbound, or bound in its process (`[bind:R]` in `domain.rs`).

pub(crate) use system::{process, watch};

cfg_event_fd! {
    pub(crate) use system::count;
}

/// Whether a thread is not in this process, F2. `read` says what its number is, or 0 if there is
/// none by now, and the name of the process in which it was bound.
pub(crate) fn is_gone(read: impl Fn() -> (usize, u64)) -> bool {
    loop {
        let here = process();
        let (thread, its_process) = read();
        if thread == 0 || its_process == here || system::forked(here) == Some(thread) {
            return false;
        }
        // F4: a handler that forked meanwhile may have let a thread of the child bind.
        if process() == here {
            return true;
        }
    }
}

#[cfg(all(unix, not(bywash_loom)))]
mod system {
    use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

    use crate::identity;

    static FORKS: AtomicU32 = AtomicU32::new(0);

    /// The number of the thread that forked, and the name of its child.
    static FORKED: AtomicUsize = AtomicUsize::new(0);
    static CHILD: AtomicU64 = AtomicU64::new(0);

    /// The name of this process, F1. Never 0.
    pub(crate) fn process() -> u64 {
        (u64::from(count()) << 32) | u64::from(std::process::id())
    }

    /// The half of the name that takes no system call, F7.
    pub(crate) fn count() -> u32 {
        FORKS.load(Ordering::Relaxed)
    }

    /// The number of the thread that has forked the process of this name, if that is known.
    pub(super) fn forked(process: u64) -> Option<usize> {
        let is_known = CHILD.load(Ordering::Relaxed) == process;
        is_known.then(|| FORKED.load(Ordering::Relaxed))
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
        FORKED.store(identity::number(), Ordering::Relaxed);
        CHILD.store(process(), Ordering::Relaxed);
    }
}

/// There is no fork, or none in a model.
#[cfg(not(all(unix, not(bywash_loom))))]
mod system {
    pub(crate) fn process() -> u64 {
        1
    }

    pub(super) fn forked(_process: u64) -> Option<usize> {
        None
    }

    pub(crate) fn watch() {}
}
