//! Where producers sleep.

use core::sync::atomic;
use std::time::Instant;

use super::system::light_barrier;
use super::{Deadline, EventCount, LONGEST_SLEEP};
use crate::sync::{AtomicU64, Ordering, const_fn, fence};

/// The producers' eventcount, and how many they are.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// How many producers sleep, are about to, or were woken and have not left yet.
    registered: AtomicU64,
    events: EventCount,
    /// How many have waited for too long, W9. Nothing but time depends on it. The atomic is
    /// `core`'s in the models, too.
    overdue: atomic::AtomicU64,
}

/// A push that has waited for too long, and waits.
pub(crate) struct Overdue<'a>(&'a Waiters);

impl Drop for Overdue<'_> {
    fn drop(&mut self) {
        self.0.overdue.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Waiters {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                registered: AtomicU64::new(0),
                events: EventCount::new(),
                overdue: atomic::AtomicU64::new(0),
            }
        }
    }

    pub(crate) fn register(&self) {
        // [register:A] Relaxed; pairs with [registered:L] by way of the barriers
        self.registered.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends what `register` began, and passes the wake on to the next producer if it `may_go_on`.
    pub(crate) fn deregister(&self, may_go_on: impl FnOnce() -> bool) {
        let before = self.registered.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before != 0, "W6: left more often than registered");
        if before == 1 {
            return;
        }
        self.events.prepare_wait();
        if may_go_on() {
            self.events.notify(|| false, || {});
        }
    }

    /// Whether a push has waited for too long, so that the others line up, W9.
    pub(crate) fn has_overdue(&self) -> bool {
        self.overdue.load(Ordering::Relaxed) != 0
    }

    /// Says that the caller has waited for too long, until the result is dropped.
    pub(crate) fn overdue(&self) -> Overdue<'_> {
        self.overdue.fetch_add(1, Ordering::Relaxed);
        Overdue(self)
    }

    /// Announces that the caller is about to sleep. Returns the key to sleep on.
    pub(crate) fn prepare_wait(&self) -> u64 {
        self.events.prepare_wait()
    }

    /// Sleeps until notified or past the deadline; for a nap only, unless `may_sleep_unbounded`.
    /// For `LONGEST_SLEEP` at most, W8. Returns whether a producer was notified meanwhile.
    pub(crate) fn wait(&self, key: u64, deadline: Deadline, may_sleep_unbounded: bool) -> bool {
        let longest = Instant::now().checked_add(LONGEST_SLEEP);
        let end = deadline.into_iter().chain(longest).min();
        self.events.wait(key, end, may_sleep_unbounded)
    }

    /// Whether any producer is registered, after a slot was freed.
    #[inline]
    pub(crate) fn are_registered(&self) -> bool {
        light_barrier();
        // [registered:L] Relaxed; pairs with [register:A] by way of the barriers
        self.registered.load(Ordering::Relaxed) != 0
    }

    /// Wakes a producer that sleeps, if none is on its way already, after a slot was freed.
    pub(crate) fn notify(&self) {
        // [pop:F] SeqCst; pairs with [sleep:F]
        fence(Ordering::SeqCst);
        self.events.notify(|| false, || {});
    }

    /// Wakes up to `count` producers, also while another is on its way. Returns whether any are
    /// registered.
    #[inline]
    pub(crate) fn notify_many(&self, count: i32) -> bool {
        let has_any = self.registered.load(Ordering::Relaxed) != 0;
        if has_any {
            self.events.notify_many(count);
        }
        has_any
    }

    /// Forgets who sleeps or wakes: nobody does.
    pub(crate) fn reset(&self) {
        self.registered.store(0, Ordering::Relaxed);
        self.overdue.store(0, Ordering::Relaxed);
        self.events.reset();
    }

    /// Wakes all, after the queue was closed.
    pub(crate) fn notify_all(&self) {
        self.events.notify_many(i32::MAX);
    }
}

#[cfg(all(test, not(bywash_loom)))]
mod tests {
    use super::*;

    #[test]
    fn others_line_up_until_the_last_overdue_push_has_left() {
        let waiters = Waiters::new();
        assert!(!waiters.has_overdue());
        let overdue = [waiters.overdue(), waiters.overdue()];
        for push in overdue {
            assert!(waiters.has_overdue());
            drop(push);
        }
        assert!(!waiters.has_overdue());
    }

    #[test]
    fn a_thread_that_ended_while_overdue_is_forgotten() {
        let waiters = Waiters::new();
        core::mem::forget(waiters.overdue());
        waiters.reset();
        assert!(!waiters.has_overdue());
    }
}
