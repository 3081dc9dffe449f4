//! Where producers sleep.

use std::time::Instant;

use super::system::light_barrier;
use super::{Deadline, EventCount, LONGEST_SLEEP};
use crate::sync::{AtomicU64, Ordering, const_fn, fence};

/// The producers' eventcounts, and how many they are.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// How many producers sleep, are about to, or were woken and have not left yet.
    registered: AtomicU64,
    events: EventCount,
    /// Where those sleep that are overdue, W9.
    line: EventCount,
    /// How many are overdue. Relaxed: a push that leaves the line was woken through the kernel, and
    /// those that still sleep there had counted themselves before they called it.
    overdue: AtomicU64,
}

/// A push that has waited for too long, and waits.
pub(crate) struct Overdue<'a>(&'a Waiters);

/// What a producer sleeps on that has announced it.
#[derive(Clone, Copy)]
pub(crate) struct Announced<'a> {
    events: &'a EventCount,
    key: u64,
}

impl Announced<'_> {
    /// Sleeps until notified or past the deadline; for a nap only, unless `may_sleep_unbounded`.
    /// For `LONGEST_SLEEP` at most, W8. Returns whether a producer was notified meanwhile.
    pub(crate) fn wait(self, deadline: Deadline, may_sleep_unbounded: bool) -> bool {
        let longest = Instant::now().checked_add(LONGEST_SLEEP);
        let end = deadline.into_iter().chain(longest).min();
        self.events.wait(self.key, end, may_sleep_unbounded)
    }
}

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
                line: EventCount::new(),
                overdue: AtomicU64::new(0),
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
        self.prepare_wait(self.has_overdue());
        if may_go_on() {
            self.notify_each();
        }
    }

    pub(crate) fn has_overdue(&self) -> bool {
        self.overdue.load(Ordering::Relaxed) != 0
    }

    /// Says that the caller is overdue, W9, until the result is dropped.
    pub(crate) fn overdue(&self) -> Overdue<'_> {
        self.overdue.fetch_add(1, Ordering::Relaxed);
        Overdue(self)
    }

    /// Announces that the caller is about to sleep, in the line too if it `is_overdue`.
    pub(crate) fn prepare_wait(&self, is_overdue: bool) -> Announced<'_> {
        let announce = |events| Announced { events, key: EventCount::prepare_wait(events) };
        let announced = announce(&self.events);
        if is_overdue { announce(&self.line) } else { announced }
    }

    /// Whether any producer is registered, after a slot was freed.
    #[inline]
    pub(crate) fn are_registered(&self) -> bool {
        light_barrier();
        // [registered:L] Relaxed; pairs with [register:A] by way of the barriers
        self.registered.load(Ordering::Relaxed) != 0
    }

    /// Wakes a producer that sleeps, and one in the line, after a slot was freed. Neither, if one of
    /// its kind is on its way already.
    pub(crate) fn notify(&self) {
        // [pop:F] SeqCst; pairs with [sleep:F]
        fence(Ordering::SeqCst);
        self.notify_each();
    }

    fn notify_each(&self) {
        self.line.notify(|| false, || {});
        self.events.notify(|| false, || {});
    }

    /// Wakes up to `count` producers, and as many that are overdue, also while others are on their
    /// way. Returns whether any are registered.
    #[inline]
    pub(crate) fn notify_many(&self, count: i32) -> bool {
        let has_any = self.registered.load(Ordering::Relaxed) != 0;
        if has_any {
            self.notify_many_of_each(count);
        }
        has_any
    }

    #[cold]
    fn notify_many_of_each(&self, count: i32) {
        if self.has_overdue() {
            self.line.notify_many(count);
        }
        self.events.notify_many(count);
    }

    /// Forgets who sleeps or wakes: nobody does.
    pub(crate) fn reset(&self) {
        self.registered.store(0, Ordering::Relaxed);
        self.overdue.store(0, Ordering::Relaxed);
        self.line.reset();
        self.events.reset();
    }

    /// Wakes all, after the queue was closed.
    pub(crate) fn notify_all(&self) {
        self.line.notify_many(i32::MAX);
        self.events.notify_many(i32::MAX);
    }
}

#[cfg(all(test, not(bywash_loom)))]
mod tests {
    use super::*;

    /// Outside of the line, and in it.
    fn announced(waiters: &Waiters) -> [bool; 2] {
        [&waiters.events, &waiters.line].map(EventCount::is_announced)
    }

    #[test]
    fn a_free_slot_wakes_one_outside_of_the_line_and_one_in_it() {
        let waiters = Waiters::new();
        waiters.prepare_wait(false);
        assert_eq!(announced(&waiters), [true, false]);
        waiters.notify();
        assert_eq!(announced(&waiters), [false, false]);
        waiters.prepare_wait(true);
        assert_eq!(announced(&waiters), [true, true]);
        waiters.notify();
        assert_eq!(announced(&waiters), [false, false]);
    }

    #[test]
    fn who_leaves_announces_for_the_line_while_a_push_is_overdue() {
        let waiters = Waiters::new();
        (0..3).for_each(|_| waiters.register());
        let overdue = waiters.overdue();
        waiters.deregister(|| false);
        assert_eq!(announced(&waiters), [true, true]);
        waiters.notify();
        drop(overdue);
        waiters.deregister(|| false);
        assert_eq!(announced(&waiters), [true, false]);
    }

    #[test]
    fn closing_or_one_wake_more_reaches_the_line() {
        let waiters = Waiters::new();
        waiters.register();
        let _overdue = waiters.overdue();
        let wakes: [fn(&Waiters); 2] = [Waiters::notify_all, |waiters| {
            assert!(waiters.notify_many(1));
        }];
        for wake in wakes {
            let in_line = waiters.prepare_wait(true);
            wake(&waiters);
            assert!(in_line.wait(Some(Instant::now()), true));
        }
    }

    #[test]
    fn a_thread_that_ended_while_overdue_is_forgotten() {
        let waiters = Waiters::new();
        core::mem::forget(waiters.overdue());
        waiters.reset();
        assert!(!waiters.has_overdue());
    }
}
