//! Sleeping, and being woken from anywhere.
//!
//! Only `push` and `pop` sleep. To wake a sleeper takes a few atomic operations and a system call,
//! all legal in a signal handler. [`EventCount`] is the word that a thread sleeps on, an
//! eventcount as Vyukov and folly have it. [`Parker`] is the one of the consumer, [`Waiters`] that
//! of the producers. `backoff.rs` says how long to try before sleeping, by the [`LastWait`].
//! `Changes` is for those who wait for a listener. Each system has a file: `linux.rs` (futex and
//! membarrier), `windows.rs` (`WaitOnAddress`), `portable.rs` (naps), `model.rs` (loom).
//!
//! # Who must see whom
//!
//! A thread that is about to sleep announces it, looks once more, and sleeps on what it announced.
//! A thread that brings what the sleeper waits for does so first, and then looks for an
//! announcement. One of the two must see the other, so each needs a fence between its two steps.
//! The fast paths have no fence:
//!
//! * **W1** *A push, and the consumer that falls asleep.* The push claims and then reads the
//!   announcement, both sequentially consistent (`[claim:C]`, `[notify:L]`). The consumer
//!   announces, fences (`[sleep:F]`) and reads the tail. If the tail shows nothing but what was
//!   popped, each later push will see the announcement. If it shows a claim that is not published,
//!   the producer may have looked for the announcement already, while its publication is on its
//!   way. So the consumer issues a heavy barrier and looks again. From then on, either it sees the
//!   publication, or the push will look after the announcement.
//! * **W2** *A pop, and the producer that falls asleep.* The pop moves the head and reads
//!   `registered`; both are plain accesses on most machines. So the producer pays: it registers,
//!   announces, issues a heavy barrier and looks again. As that barrier is expensive, the producer
//!   first takes a nap without it. Mostly it is woken from that nap. (From then on each pop is also
//!   announced to the graph of waits, G2 in `cycles.rs`. So a thread that may be on a cycle takes
//!   no such nap.)
//! * **W3** Where the system has no heavy barrier (neither Linux nor Windows, forbidden, or not
//!   registered for yet), a thread that would need one never sleeps longer than a nap. A wake can
//!   then be late by a nap, and is never lost. Where a sandbox forbids the futex, each sleep is a
//!   nap.
//!
//! The heavy barrier makes every running thread of the process pass a full fence, as in the
//! asymmetric fences of folly and liburcu: `membarrier`, or `FlushProcessWriteBuffers`. Rust's
//! memory model does not know it. The models take the heavy and the light barrier for fences.
//!
//! # How a thread sleeps on a word
//!
//! ```text
//!          prepare_wait      exchange: claim the wake          system call, exchange
//!   IDLE(n) ----------> WANTED(n) ---------------> WAKING(n) -----------------> IDLE(n+1)
//! ```
//!
//! WANTED and WAKING also say how to wake: through the word, or by the descriptor of an event loop.
//! LINGERING, in place of WANTED, says that not each wake is claimed, W10.
//!
//! * **W4** The word changes before the system call, so that nobody falls asleep on the old value
//!   after the call was made for it. And it says WAKING, so that if the waker is stopped between
//!   the two, the next one makes the call.
//! * **W5** No value comes back: the count never wraps, so an exchange that comes late fails.
//!   (Linux compares 32 bits, which do come back, 2^29 rounds later. A thread that falls asleep on
//!   them then finds the word WANTED, and the next notification wakes it.)
//!
//! # Producers that sleep
//!
//! If each freed slot woke a producer, 16 producers would fight for every slot. So one wake is on
//! its way (another one in the line, W9): a pop finds WANTED and wakes one producer, and the pops
//! after it find IDLE. A producer that leaves the sleep while others are registered announces again
//! for them, looks, and wakes the next one if there is room. So the wake is passed on while there
//! is room, and a consumer that pops once and never again has let one producer in. A producer that
//! finds the room taken tries on for a moment, registered and not announced. Meanwhile no pop wakes
//! those who sleep, except by W7. It announces again before it sleeps, and when it leaves.
//!
//! * **W6** While a producer is registered, each pop has a fence, `[pop:F]`. It pairs with the
//!   fence in the announcement of the producer that leaves: that producer sees the free slot, or
//!   the pop sees the announcement.
//! * **W7** The producer that was woken may be stopped before it passes the wake on. So a consumer
//!   that finds nothing wakes one more, whatever the word says. Before it sleeps it takes a nap
//!   after that, and then wakes all. (While it always finds something, and the ring is never full
//!   again, producers may sleep on behind a stopped one: they starve, as they might anyway.)
//! * **W8** A producer looks again after `LONGEST_SLEEP`, also unwoken: it may be in a child by
//!   now, which a signal handler has forked, and where nobody would wake it (F4 in
//!   `threads/fork.rs`).
//! * **W9** *The line.* A push that is awake is faster than one that must be woken first, and could
//!   get in before it for ever. Who was woken in vain even falls asleep behind all others, as Linux
//!   wakes in the order in which threads fell asleep. So after 1 ms (as in Go's mutex) a push is
//!   *overdue*, and sleeps on another word, the *line*: whoever wakes a producer wakes one there,
//!   too. So it tries again for each slot, or each few, and not once for as many slots as producers
//!   sleep. It goes on announcing for those outside of the line, one of whom it may have been, and
//!   who leaves announces for both. So nobody depends on an overdue push: if its thread is stopped
//!   or has ended, the others are woken as before. (A thread that may be on a cycle takes no nap, so
//!   it joins the line only after it was woken. `push_or_sleep` never does.)
//!
//! # A consumer that lingers
//!
//! * **W10** A consumer that was told to linger, and finds nothing, announces LINGERING. Before
//!   that it stores the tail index that ends the linger: so many items above the head, and no more
//!   than the ring has room for. Then it sleeps for a limited time. A push that finds the
//!   announcement compares the tail with that index, and claims the wake only if the tail has come
//!   there; not only the push that brought it there, as that one may have been stopped. When the
//!   time is over and there is nothing, the consumer sleeps as any other, WANTED, and lingers again
//!   once it has popped something. What wakes it in time:
//!   * *Enough items.* As in W1: the consumer reads the tail after `[sleep:F]`. If that shows a
//!     claim at the index, it does not sleep. If not, the push that makes that claim sees the
//!     announcement, and the index by `[announce:R]`. (By no model: the machines order the index
//!     by the fence, but Rust does not promise that.) Pushes below the index need not see it, so no
//!     heavy barrier is needed.
//!   * *A full ring.* While the consumer sleeps the head stays, so the tail of a full ring is at the
//!     index. A push that waits for room looks at the word before it sleeps, in place of the one
//!     that filled the ring. It wakes no consumer that has announced WANTED: where the ring is full
//!     of stopped pushes, the two would go on waking each other, W7. (`try_push` does not look when
//!     refused. So if the push that filled the ring is stopped before it wakes the consumer, and
//!     none waits, the linger goes on until its time is over.)
//!   * *Closing* sets a bit of the tail which makes it larger than any index. So it wakes the
//!     consumer as a push does; so does each push that finishes after that; and no consumer lingers
//!     at a closed queue.
//!   * *A flush* changes what the consumer looks at before it sleeps, L1. It wakes the consumer
//!     whatever it announced.
//!   * *`wake_consumer`*, and a push that waits until its item is popped, change nothing. They may
//!     come before the announcement, and after a push whose publication is on its way. So they have
//!     a fence, `[now:F]`. If they do not see the announcement, then the consumer, which looks for
//!     items after `[sleep:F]`, sees what was published before their fence.
//!
//! # Closing
//!
//! Closing wakes all producers without looking: it changes each word, and then makes its system
//! call, which is a full fence. A producer that announced before finds the word changed, or is
//! woken. One that announces after that sees the queue closed by the time it may sleep without
//! bound.
//!
//! # Orderings
//!
//! | label | site | operation and ordering | pairs with | model that fails if weakened |
//! |---|---|---|---|---|
//! | [sleep:F] | after the announcement | fence SeqCst | [claim:C], [close:C] and [notify:L]; [pop:F]; [now:F] | `a_push_wakes_a_pop`, `a_pop_wakes_a_push`; `memory_model`: `a_push_wakes_a_pop`, `a_wake_is_passed_on_while_there_is_room` |
//! | [notify:L] | after publishing or closing | light barrier, load of the word SeqCst; before a push waits, without the barrier | [sleep:F]; [announce:R] | `a_push_wakes_a_pop`; `memory_model`: `a_push_wakes_a_pop` |
//! | [announce:R] | arming, and so after the descriptor was stored; lingering, after the index | exchange of the word, Release | [notify:L], [notify:A] | `memory_model`: `a_push_that_finds_the_consumer_armed_sees_its_descriptor` |
//! | [notify:A] | another announcement than at [notify:L] | failed exchange of the word, Acquire | [announce:R] | `memory_model`: `a_push_that_finds_the_consumer_armed_anew_sees_its_descriptor` |
//! | [now:F] | `wake_consumer`, before the word | fence SeqCst | [sleep:F] | `memory_model`: `a_pop_that_lingers_is_woken_now` |
//! | [register:A] | before announcing | add to `registered` Relaxed, heavy barrier | [registered:L] | `memory_model`: `a_pop_wakes_a_push`, `no_cycle_is_invented` |
//! | [registered:L] | after moving the head | light barrier, load of `registered` Relaxed | [register:A] | `a_wake_is_passed_on_while_there_is_room`; `memory_model`: `a_pop_wakes_a_push`, `no_cycle_is_invented` |
//! | [pop:F] | before the word, in a pop | fence SeqCst | [sleep:F] | `memory_model`: `a_wake_is_passed_on_while_there_is_room` |
//!
//! Under loom the barriers are fences, and sequentially consistent accesses no more than Acquire
//! and Release. `tests/memory_model/` has the real ones, `membarrier` included, on x86-TSO, on
//! ARMv8 and on a machine that keeps no more than Rust promises. It shows that a thread sleeps
//! forever without each of them, and that none does with all.
//!
//! All other accesses to a word are Relaxed: what a thread waits for is published elsewhere, and
//! the exchanges only decide who makes the system call. A push that is to write into a descriptor
//! must see which, and that is published with the announcement.

use core::time::Duration;
use std::time::Instant;

use crossbeam_utils::CachePadded;

mod backoff;
#[cfg(not(bywash_loom))]
mod changes;
mod consumer;
mod event_count;
mod producers;

#[cfg_attr(bywash_loom, path = "model.rs")]
#[cfg_attr(all(not(bywash_loom), target_os = "linux", not(bywash_portable)), path = "linux.rs")]
#[cfg_attr(all(not(bywash_loom), windows, not(bywash_portable)), path = "windows.rs")]
#[cfg_attr(
    all(not(bywash_loom), any(not(any(target_os = "linux", windows)), bywash_portable)),
    path = "portable.rs"
)]
mod system;

cfg_event_fd! {
    mod event_fd;
}

pub(crate) use backoff::LastWait;
#[cfg(not(bywash_loom))]
pub(crate) use changes::Changes;
pub(crate) use consumer::{Linger, Parker};
use event_count::EventCount;
pub(crate) use producers::Waiters;
pub(crate) use system::{heavy_barrier, sleep_briefly};

/// How long a producer sleeps at most before it looks again whether its consumer is there: F4.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// After so long a push that waits is overdue: W9.
pub(crate) const OVERDUE_AFTER: Duration = Duration::from_millis(1);

/// Of both sides of a queue. It is written while others push and pop, so it has lines of its own.
#[derive(Debug)]
pub(crate) struct LastWaits {
    pub(crate) producers: CachePadded<LastWait>,
    pub(crate) consumer: LastWait,
}

impl LastWaits {
    pub(crate) const fn new() -> Self {
        Self { producers: CachePadded::new(LastWait::new()), consumer: LastWait::new() }
    }
}

/// Naps of a thread that looks again who waits for whom, each a quarter longer than the one before.
pub(crate) struct Naps(Duration);

impl Naps {
    const FIRST: Duration = Duration::from_micros(100);
    const LONGEST: Duration = Duration::from_millis(16);

    pub(crate) fn new() -> Self {
        Self(Self::FIRST)
    }

    /// When the next one ends, if the deadline is not before that.
    pub(crate) fn next_end(&mut self, deadline: Deadline) -> Deadline {
        let end = Instant::now().checked_add(self.0);
        self.0 = (self.0 * 5 / 4).min(Self::LONGEST);
        deadline.into_iter().chain(end).min()
    }
}

/// When to give up waiting; `None` is never.
pub(crate) type Deadline = Option<Instant>;

/// How long a call waits. A timeout of zero tries once, and asks no clock: some targets have none.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    Zero,
    Until(Deadline),
}

impl Patience {
    pub(crate) fn new(timeout: Duration) -> Self {
        if timeout.is_zero() { Self::Zero } else { Self::Until(deadline_after(timeout)) }
    }

    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::Zero => true,
            Self::Until(deadline) => is_over(deadline),
        }
    }
}

/// Calls its argument, which sleeps: see
/// [`Producer::push_or_sleep`](crate::Producer::push_or_sleep).
pub(crate) type AroundSleep<'a> = &'a mut dyn FnMut(&mut (dyn FnMut() + Send));

/// So long from now. A timeout of zero is not for this: it asks no clock.
///
/// # Panics
///
/// Where there is none, with the reason: the standard library says only that there is no time.
pub(crate) fn deadline_after(timeout: Duration) -> Deadline {
    assert_can_wait();
    Instant::now().checked_add(timeout)
}

/// Panics on a target that has neither threads nor a clock, where a wait could never end.
fn assert_can_wait() {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    panic!("bywash: this target has no threads and no clock, so nothing can be waited for");
}

pub(crate) fn is_over(deadline: Deadline) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}
