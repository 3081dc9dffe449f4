//! Sleeping, and being woken from anywhere.
//!
//! Only `push` and `pop` sleep. To wake is a few atomics and one system call at most, legal in a
//! signal handler. Where the system's way to do it is written down: `linux.rs` (futex and
//! membarrier), `portable.rs` (naps), `model.rs` (loom).
//!
//! # Who must see whom
//!
//! Whoever is about to sleep announces it, looks once more, and sleeps on the value announced.
//! Whoever brings what is waited for does so first, and then looks for an announcement. One of the
//! two must see the other, and so between its two steps each needs a fence. There is none on the
//! fast paths:
//!
//! * **W1** *A push, and the consumer that falls asleep.* The push claims and then reads the
//!   announcement, both sequentially consistent (`[claim:C]`, `[wake:F]`); the consumer announces,
//!   fences (`[sleep:F]`) and reads `claims`. If that shows nothing but what was popped, every
//!   later push will see the announcement. If it shows a claim that is not published, the producer
//!   may be past its look already and the publication on its way; so the consumer issues a heavy
//!   barrier and looks again. From then on either the publication is seen, or the push will look
//!   after the announcement.
//! * **W2** *A pop, and the producer that falls asleep.* The pop releases a slot and reads
//!   `registered`; both are plain on most machines. So the producer's side takes the dear half: it
//!   registers, announces, issues a heavy barrier and looks again. As that barrier is dear for all,
//!   it first takes a nap without it; mostly it is woken from that.
//! * **W3** Where the system has no heavy barrier (not Linux, or forbidden), whoever would need one
//!   never sleeps longer than a nap. A wake can then be late by a nap, and is never lost.
//!
//! The heavy barrier makes every running thread of the process pass a full fence (`membarrier`, as
//! in folly's and liburcu's asymmetric fences). Rust's memory model does not know it; the models
//! take the heavy and the light barrier for fences.
//!
//! # How a word is slept on
//!
//! ```text
//!            announce          exchange: claim the wake          system call, exchange
//!   IDLE(n) ----------> WANTED(n) ---------------------> WAKING(n) -----------------> IDLE(n+1)
//! ```
//!
//! WANTED and WAKING also say how to wake: through the word, or, where the consumer waits in an
//! event loop, by a signal.
//!
//! * **W4** The word changes before the system call, so that nobody falls asleep on the old value
//!   after the call was made for it; and it says WAKING, so that where the waker is stopped for
//!   ever between the two, the next one makes the call.
//! * **W5** No value comes back: the count never wraps, so an exchange that comes late fails. (The
//!   kernel compares 32 bits, which do come back, 2^29 rounds later. Whoever falls asleep on them
//!   then finds the word WANTED, and so is woken by the next.)
//!
//! # Producers that sleep
//!
//! A wake for each freed slot would make 16 producers stand in each other's way. So there is one
//! wake on its way at most: a pop finds WANTED, wakes one, and the following pops find IDLE.
//! Whoever leaves the sleep, for whatever reason, while others are registered, announces again for
//! them, looks, and wakes the next one if there is room. So a wake is passed on while there is
//! room, and a consumer that pops once and never again has let one in. Whoever finds the room gone
//! again tries on for a moment, registered and not announced; for whoever sleeps there is no wake
//! then but by W7. It announces again before it sleeps, and when it leaves.
//!
//! * **W6** While somebody is registered, each pop has a fence, `[room:F]`; it pairs with the one
//!   in the announcement on leaving. Whoever leaves sees the slot, or the pop sees what it
//!   announced.
//! * **W7** Whoever was woken may be stopped for ever before it passes the wake on. So a consumer
//!   that finds nothing wakes one more, whatever the word says; and before it sleeps, it takes a
//!   nap after that, and then wakes all. (While it always finds something, and the ring is never
//!   full again, the others may wait behind a stopped one: they starve, as they might anyway.)
//!
//! Closing wakes all without looking. Whoever announces after that, and does not see the queue
//! closed, only naps, or has issued a heavy barrier since, after which it does see it.
//!
//! | label | site | ordering | pairs with | model |
//! |---|---|---|---|---|
//! | [sleep:F] | after the announcement | fence SeqCst | [claim:C], [close:C] and [wake:F]; [room:F] | `a_push_wakes_a_pop`, `a_pop_wakes_a_push` |
//! | [wake:F] | the word, after publishing or closing | light barrier, load SeqCst | [sleep:F] | `a_push_wakes_a_pop` |
//! | [close:C] | closing | exchange SeqCst | [sleep:F] | argued, W1 |
//! | [wait:R] | `registered`, before announcing | add Relaxed, heavy barrier | [room:R] | argued, W2 |
//! | [room:R] | `registered`, after releasing | light barrier, load Relaxed | [wait:R] | `a_wake_is_passed_on_while_there_is_room` |
//! | [room:F] | before the word, in a pop | fence SeqCst | [sleep:F] | argued, W6 |
//!
//! What is argued and not modelled is what loom cannot tell: there the light barrier is a fence
//! already, in front of [room:F] and instead of the heavy one, and a sequentially consistent access
//! is no more than Acquire and Release. Stepping and storms run the real ones.

use core::hint;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use crate::sync::{AtomicU64, Ordering, const_fn, fence};

#[cfg(all(feature = "eventfd", target_os = "linux", not(any(loom, bywash_portable))))]
use crate::event_fd::EventFd;

#[cfg_attr(loom, path = "model.rs")]
#[cfg_attr(all(not(loom), target_os = "linux", not(bywash_portable)), path = "linux.rs")]
#[cfg_attr(all(not(loom), any(not(target_os = "linux"), bywash_portable)), path = "portable.rs")]
mod system;

use system::Futex;
pub(crate) use system::{doze, heavy_barrier, light_barrier};

/// How long to sleep where the look before may have missed something.
const NAP: Duration = Duration::from_millis(1);

/// When to give up waiting; `None` is never.
pub(crate) type Deadline = Option<Instant>;

pub(crate) fn is_over(deadline: Deadline) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// How long to sleep: to the deadline, and for a nap at most where the last look was not `sure`.
fn allowance(deadline: Deadline, sure: bool) -> Option<Duration> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    match left {
        left if sure => left,
        Some(left) => Some(left.min(NAP)),
        None => Some(NAP),
    }
}

/// The time before sleep, and before falling asleep again: spinning, then yielding to whoever is
/// waited for.
///
/// Whoever comes back at once finds one item, or room for one; then both sides fetch the same cache
/// lines from each other for every item. So where there is room for a batch, the time for one
/// passes first: there is no spinning.
///
/// Yields go on for a few times as long as it takes to fall asleep and be woken, not longer: then
/// there are other threads that need the core, which a yield only goes round between. On a core
/// that other work keeps busy one yield lasts a time slice, while sleepers are woken soon.
pub(crate) struct Spin {
    pauses: u32,
    yields_end: Deadline,
}

impl Spin {
    /// A queue of so many has room for a batch.
    const BATCH: usize = 256;
    const PAUSES: u32 = 16;
    const YIELDS: Duration = Duration::from_micros(100);

    pub(crate) fn before_sleep(capacity: usize) -> Self {
        let pauses = if capacity < Self::BATCH { 1 } else { Self::PAUSES + 1 };
        Self { pauses, yields_end: None }
    }

    /// For one who was woken, and may get what it waited for at once.
    pub(crate) fn after_sleep() -> Self {
        Self { pauses: 1, yields_end: None }
    }

    /// Spends a moment, or returns `false` once it is time to sleep. In a model there is no time to
    /// spend, and all turns are alike.
    pub(crate) fn turn(&mut self) -> bool {
        if cfg!(any(loom, bywash_steps)) {
            return false;
        }
        if self.pauses <= Self::PAUSES {
            (0..self.pauses).for_each(|_| hint::spin_loop());
            self.pauses *= 2;
            return true;
        }
        let now = Instant::now();
        let end = *self.yields_end.get_or_insert(now + Self::YIELDS);
        if now >= end {
            return false;
        }
        thread::yield_now();
        true
    }
}

/// A word to sleep on, and to be woken through from anywhere.
///
/// Its two lowest bits are the state, the third says how to wake, the others count, so that no
/// value ever comes back.
#[derive(Debug)]
struct Event {
    word: Futex,
}

const STATE: u64 = 0b11;
/// Nobody wants to be woken.
const IDLE: u64 = 0;
/// Somebody sleeps or is about to.
const WANTED: u64 = 1;
/// Somebody is being woken: the word has changed, so that nobody falls asleep on the old one; the
/// call may be missing.
const WAKING: u64 = 2;
/// Beside WANTED or WAKING: by a signal of the waker's, and not through the word.
const ARMED: u64 = 4;
const NEXT: u64 = 8;

impl Event {
    const_fn! {
        fn new() -> Self {
            Self { word: Futex::new() }
        }
    }

    /// Says that the caller is about to sleep, and as `how`, which is 0 or `ARMED`, it is to be
    /// woken. Returns what to sleep on, after one more look.
    fn announce(&self, how: u64) -> u64 {
        let word = self.word.value();
        let mut now = word.load(Ordering::Relaxed);
        while now & (NEXT - 1) != WANTED + how {
            // IDLE => WANTED, WAKING => WANTED, and WANTED in the other way => WANTED
            let number = now - now % NEXT + if now & STATE == IDLE { 0 } else { NEXT };
            match word.compare_exchange(
                now,
                number + WANTED + how,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => now = number + WANTED + how,
                Err(other) => now = other,
            }
        }
        // [sleep:F] SeqCst; pairs with [claim:C], [close:C] and [wake:F], [room:F]
        fence(Ordering::SeqCst);
        now
    }

    /// Sleeps until woken or past the deadline; for a nap only where the look after `announce` was
    /// not `sure`. Returns whether somebody was woken meanwhile.
    fn sleep(&self, announced: u64, deadline: Deadline, sure: bool) -> bool {
        self.word.wait(announced, allowance(deadline, sure));
        self.word.value().load(Ordering::Relaxed) != announced
    }

    /// Wakes one, if anybody wants to be woken; by `signal` where that was announced.
    #[inline]
    fn wake(&self, signal: impl FnOnce()) {
        // [wake:F] SeqCst; pairs with [sleep:F]
        let now = self.word.value().load(Ordering::SeqCst);
        if now & STATE != IDLE {
            self.wake_slow(now, signal);
        }
    }

    #[cold]
    fn wake_slow(&self, mut now: u64, signal: impl FnOnce()) {
        let word = self.word.value();
        while now & STATE == WANTED {
            // WANTED => WAKING
            match word.compare_exchange(now, now + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => now += 1,
                Err(other) => now = other,
            }
        }
        // Also where another did the exchange: it may have been stopped before the call.
        if now & STATE == WAKING {
            if now & ARMED == 0 {
                self.word.wake(1);
            } else {
                signal();
            }
            // WAKING => IDLE
            let _ = word.compare_exchange(
                now,
                now - now % NEXT + NEXT,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }
}

/// Where the consumer sleeps.
#[derive(Debug)]
pub(crate) struct Parker {
    asleep: Event,
    /// Readable when it is woken, where it was armed.
    #[cfg(all(feature = "eventfd", target_os = "linux", not(any(loom, bywash_portable))))]
    pub(crate) event_fd: EventFd,
}

impl Parker {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                asleep: Event::new(),
                #[cfg(all(feature = "eventfd", target_os = "linux", not(any(loom, bywash_portable))))]
                event_fd: EventFd::new(),
            }
        }
    }

    /// Says that the consumer is about to sleep. What is pushed from here on will wake it.
    pub(crate) fn announce(&self) -> u64 {
        self.asleep.announce(0)
    }

    /// Says that what is pushed from here on will make the event descriptor readable.
    #[cfg(all(feature = "eventfd", target_os = "linux", not(any(loom, bywash_portable))))]
    pub(crate) fn arm(&self) -> u64 {
        self.asleep.announce(ARMED)
    }

    /// Sleeps until woken or past the deadline; for a nap only where the look after `announce` was
    /// not `sure`.
    pub(crate) fn sleep(&self, announced: u64, deadline: Deadline, sure: bool) {
        self.asleep.sleep(announced, deadline, sure);
    }

    /// Says that the consumer is awake.
    pub(crate) fn retract(&self, announced: u64) {
        // WANTED, WAKING, IDLE => IDLE. A waker can only have done the same, and its exchanges fail
        // from here on.
        self.asleep.word.value().swap(announced - announced % NEXT + NEXT, Ordering::Relaxed);
    }

    /// Wakes the consumer if it sleeps, after something was published or closed. For signal
    /// handlers too.
    #[inline]
    pub(crate) fn wake(&self) {
        light_barrier();
        self.asleep.wake(|| {
            #[cfg(all(feature = "eventfd", target_os = "linux", not(any(loom, bywash_portable))))]
            self.event_fd.signal();
        });
    }
}

/// Where producers sleep.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// How many sleep, are about to, or have been woken and not left yet.
    registered: AtomicU64,
    room: Event,
}

impl Waiters {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { registered: AtomicU64::new(0), room: Event::new() }
        }
    }

    pub(crate) fn register(&self) {
        // [wait:R] Relaxed; pairs with [room:R] by way of the barriers
        self.registered.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that the caller is about to sleep.
    pub(crate) fn announce(&self) -> u64 {
        self.room.announce(0)
    }

    /// Sleeps until woken or past the deadline; for a nap only where the look after `announce` was
    /// not `sure`. Returns whether somebody was woken meanwhile.
    pub(crate) fn sleep(&self, announced: u64, deadline: Deadline, sure: bool) -> bool {
        self.room.sleep(announced, deadline, sure)
    }

    /// Unregisters the caller, and passes the wake on to the next while there is something to be
    /// woken for.
    pub(crate) fn leave(&self, may_go_on: impl FnOnce() -> bool) {
        if self.registered.fetch_sub(1, Ordering::Relaxed) == 1 {
            return;
        }
        self.room.announce(0);
        if may_go_on() {
            self.room.wake(|| {});
        }
    }

    /// Wakes a sleeper, if there is any and none is on its way already, after a slot was freed.
    #[inline]
    pub(crate) fn room(&self) {
        light_barrier();
        // [room:R] Relaxed; pairs with [wait:R] by way of the barriers
        if self.registered.load(Ordering::Relaxed) != 0 {
            self.room_slow();
        }
    }

    #[cold]
    fn room_slow(&self) {
        // [room:F] SeqCst; pairs with [sleep:F]
        fence(Ordering::SeqCst);
        self.room.wake(|| {});
    }

    /// Wakes `count` sleepers whether or not another was woken before them, and has not come yet.
    /// Returns whether there are any.
    #[inline]
    pub(crate) fn nudge(&self, count: i32) -> bool {
        let has_any = self.registered.load(Ordering::Relaxed) != 0;
        if has_any {
            self.wake_many(count);
        }
        has_any
    }

    /// Wakes all, after the queue was closed.
    pub(crate) fn wake_all(&self) {
        self.wake_many(i32::MAX);
    }

    #[cold]
    fn wake_many(&self, count: i32) {
        // W4: from here on nobody falls asleep on an older number.
        self.room.word.value().fetch_add(NEXT, Ordering::Relaxed);
        self.room.word.wake(count);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// W5: not even where a waker was stopped halfway.
    #[test]
    fn no_value_of_the_word_comes_back() {
        let parker = Parker::new();
        let word = parker.asleep.word.value();
        let mut last = word.load(Ordering::Relaxed);
        let mut has_grown_to = |state| {
            let now = word.load(Ordering::Relaxed);
            assert!(last < now && now % NEXT == state, "from {last} to {now}");
            last = now;
        };
        for how in [0, ARMED, 0] {
            let mut was_signalled = false;
            parker.asleep.announce(how);
            has_grown_to(WANTED + how);
            parker.asleep.wake(|| was_signalled = true);
            has_grown_to(IDLE);
            assert_eq!(was_signalled, how == ARMED);

            parker.asleep.announce(how);
            has_grown_to(WANTED + how);
            word.fetch_add(WAKING - WANTED, Ordering::Relaxed);
            has_grown_to(WAKING + how);
            let announced = parker.asleep.announce(how);
            has_grown_to(WANTED + how);
            // In the other way.
            let announced = if how == ARMED { parker.asleep.announce(0) } else { announced };
            parker.retract(announced);
            has_grown_to(IDLE);
        }
    }
}
