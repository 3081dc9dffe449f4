//! A word that a thread sleeps on, and is woken through from anywhere.

use std::time::Instant;

use super::Deadline;
use super::system::Futex;
use crate::sync::{Ordering, const_fn, fence};

/// The two lowest bits of the word are the state, the third says how to wake, and the others count,
/// so that no value ever comes back, W5.
#[derive(Debug)]
pub(super) struct EventCount {
    word: Futex,
}

const STATE: u64 = 0b11;
/// Nobody wants to be woken.
const IDLE: u64 = 0;
/// A thread sleeps or is about to, and wants to be woken for what is worth it, W10.
const LINGERING: u64 = 1;
/// A thread sleeps or is about to.
const WANTED: u64 = 2;
/// A thread is being woken. The word has changed, so that nobody falls asleep on the old value; the
/// system call may be missing.
const WAKING: u64 = 3;
/// With WANTED or WAKING: wake through the event descriptor, and not through the word.
const DESCRIPTOR: u64 = 4;
const NEXT: u64 = 8;

impl EventCount {
    const_fn! {
        pub(super) fn new() -> Self {
            Self { word: Futex::new() }
        }
    }

    /// Announces that the caller is about to sleep. Returns the key to sleep on, after one more
    /// look.
    pub(super) fn prepare_wait(&self) -> u64 {
        self.announce(WANTED, Ordering::Relaxed)
    }

    /// As `prepare_wait`, for a caller that has said by when it is to be woken, W10.
    pub(super) fn prepare_linger(&self) -> u64 {
        // [announce:R] Release; pairs with [notify:L] and [notify:A]
        self.announce(LINGERING, Ordering::Release)
    }

    fn announce(&self, state: u64, publish: Ordering) -> u64 {
        let word = self.word.value();
        let mut now = word.load(Ordering::Relaxed);
        while now & (NEXT - 1) != state {
            // IDLE => WANTED, WAKING => WANTED, and WANTED in the other way => WANTED; or LINGERING
            let count = now - now % NEXT + if now & STATE == IDLE { 0 } else { NEXT };
            debug_assert!(now < count + state, "W5: a value of the word comes back");
            match word.compare_exchange(now, count + state, publish, Ordering::Relaxed) {
                Ok(_) => now = count + state,
                Err(other) => now = other,
            }
        }
        // [sleep:F] SeqCst; pairs with [claim:C], [close:C] and [notify:L], [pop:F], [now:F]
        fence(Ordering::SeqCst);
        now
    }

    /// Takes the announcement back.
    pub(super) fn cancel_wait(&self, key: u64) {
        // LINGERING, WANTED, WAKING, IDLE => IDLE. A notifier can only have done the same, and its
        // exchanges fail from here on.
        self.word.value().swap(key - key % NEXT + NEXT, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn is_announced(&self) -> bool {
        self.word.value().load(Ordering::Relaxed) & STATE == WANTED
    }

    /// Forgets who sleeps or wakes: nobody does.
    pub(super) fn reset(&self) {
        self.cancel_wait(self.word.value().load(Ordering::Relaxed));
    }

    /// Sleeps until notified or past the deadline; for a nap only, unless `may_sleep_unbounded`.
    /// Returns whether a thread was notified meanwhile.
    pub(super) fn wait(&self, key: u64, deadline: Deadline, may_sleep_unbounded: bool) -> bool {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if may_sleep_unbounded {
            self.word.wait(key, left);
        } else {
            self.word.nap(key, left);
        }
        self.word.value().load(Ordering::Relaxed) != key
    }

    /// Wakes one thread, if any wants to be woken; by `make_readable` if that is how; one that
    /// lingers only if that `is_worth_it`.
    #[inline]
    pub(super) fn notify(&self, is_worth_it: impl Fn() -> bool, make_readable: impl FnOnce()) {
        // [notify:L] SeqCst; pairs with [sleep:F], [announce:R]
        let now = self.word.value().load(Ordering::SeqCst);
        if now & STATE != IDLE {
            self.notify_slow(now, is_worth_it, make_readable);
        }
    }

    /// Wakes a thread that lingers, whatever there is; and none that has announced WANTED, as there
    /// is nothing for that one.
    #[inline]
    pub(super) fn end_linger(&self, make_readable: impl FnOnce()) {
        // [notify:L] SeqCst; pairs with [sleep:F], [announce:R]
        let now = self.word.value().load(Ordering::SeqCst);
        // WAKING too, W4.
        if now & LINGERING != 0 {
            self.notify_slow(now, || true, make_readable);
        }
    }

    #[cold]
    fn notify_slow(
        &self,
        mut now: u64,
        is_worth_it: impl Fn() -> bool,
        make_readable: impl FnOnce(),
    ) {
        let word = self.word.value();
        while now & STATE == WANTED || now & STATE == LINGERING && is_worth_it() {
            // WANTED, LINGERING => WAKING
            // [notify:A] Acquire; pairs with [announce:R]
            match word.compare_exchange(now, now | WAKING, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => now |= WAKING,
                Err(other) => now = other,
            }
        }
        // W4: also where another thread did the exchange, as it may have been stopped before the
        // system call.
        if now & STATE == WAKING {
            if now & DESCRIPTOR == 0 {
                self.word.wake(1);
            } else {
                make_readable();
            }
            // WAKING => IDLE
            let idle = now - now % NEXT + NEXT;
            let _ = word.compare_exchange(now, idle, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Wakes up to `count` sleepers, whatever the word says.
    #[cold]
    pub(super) fn notify_many(&self, count: i32) {
        // W4: from here on nobody falls asleep on an older count.
        self.word.value().fetch_add(NEXT, Ordering::Relaxed);
        self.word.wake(count);
    }
}

cfg_event_fd! {
    impl EventCount {
        /// Announces that the caller waits for the event descriptor.
        pub(super) fn prepare_descriptor(&self) -> u64 {
            // [announce:R] Release; pairs with [notify:L] and [notify:A]
            self.announce(WANTED + DESCRIPTOR, Ordering::Release)
        }
    }
}

#[cfg(all(test, not(bywash_loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_lingers_is_woken_for_what_is_worth_it_and_now() {
        let events = EventCount::new();
        let state = || events.word.value().load(Ordering::Relaxed) & STATE;
        events.prepare_linger();
        events.notify(|| false, || ());
        assert_eq!(state(), LINGERING);
        events.notify(|| true, || ());
        assert_eq!(state(), IDLE);
        events.prepare_linger();
        events.end_linger(|| ());
        assert_eq!(state(), IDLE);
        events.prepare_wait();
        events.end_linger(|| ());
        assert_eq!(state(), WANTED);
        // W4: a waker was stopped before the call.
        events.word.value().fetch_add(WAKING - WANTED, Ordering::Relaxed);
        events.end_linger(|| ());
        assert_eq!(state(), IDLE);
    }

    /// W5: not even where a notifier was stopped between the exchange and the system call.
    #[test]
    fn no_value_of_the_word_comes_back() {
        let events = EventCount::new();
        let word = events.word.value();
        let mut last = word.load(Ordering::Relaxed);
        let mut has_grown_to = |state| {
            let now = word.load(Ordering::Relaxed);
            assert!(last < now && now % NEXT == state, "from {last} to {now}");
            last = now;
        };
        for how in [0, DESCRIPTOR, 0] {
            let mut is_readable = false;
            events.announce(WANTED + how, Ordering::Relaxed);
            has_grown_to(WANTED + how);
            events.notify(|| false, || is_readable = true);
            has_grown_to(IDLE);
            assert_eq!(is_readable, how == DESCRIPTOR);

            events.prepare_linger();
            has_grown_to(LINGERING);
            events.notify(|| true, || ());
            has_grown_to(IDLE);
            events.prepare_linger();
            has_grown_to(LINGERING);

            events.announce(WANTED + how, Ordering::Relaxed);
            has_grown_to(WANTED + how);
            word.fetch_add(WAKING - WANTED, Ordering::Relaxed);
            has_grown_to(WAKING + how);
            let key = events.announce(WANTED + how, Ordering::Relaxed);
            has_grown_to(WANTED + how);
            // In the other way.
            let key =
                if how == DESCRIPTOR { events.announce(WANTED, Ordering::Relaxed) } else { key };
            events.cancel_wait(key);
            has_grown_to(IDLE);
        }
    }
}
