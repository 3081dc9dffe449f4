//! What a thread does before it sleeps.
//!
//! It pauses and looks, each time for twice as long, until the pauses have cost about as much as
//! a wake-up; then it sleeps.
//!
//! * *An answer.* If fewer than two items were popped since the consumer's last wait, somebody may
//!   wait for an answer to each. So the consumer looks at once, and spins between its looks.
//! * *A stream.* Otherwise its first pause is long enough for a batch, because each look delays the
//!   producers. As soon as a pause takes as long as a yield, it begins with one: that lets others
//!   run where there are more threads than cores. While it does, the thread goes on yielding. A
//!   producer that waits for room yields likewise, but looks at once.
//! * *Little to do.* If its last sleep was long, a thread looks at once, and soon sleeps. A consumer
//!   yields once before: on Linux, one that went to sleep without was seen to preempt the thread
//!   whose push woke it, and the push took 2.5 times as long.
//! * *A slow consumer.* If its last sleep was longer than a yield for each item that was popped
//!   meanwhile, and two for the sleep, a producer does not yield. (Unless it was brief, and none
//!   were popped, or so many that the consumer may have waited, too.) Since Linux 6.18 (and 6.12.63)
//!   a thread that yields gives up its time slice, and when it is woken later, it waits for some
//!   milliseconds until it runs, while others push in its turn.
//!
//! Where other work keeps the cores busy, a yield may take a time slice of some milliseconds, while
//! a thread that sleeps is woken soon. So answers have no yields, and one that has taken so long is
//! the last.

use core::hint;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use super::assert_can_wait;

/// The time before a thread sleeps, or sleeps again.
pub(crate) struct Backoff {
    /// How many spin hints the next pause takes: tens of nanoseconds each.
    hints: u32,
    longest: u32,
    yields: bool,
    /// When a yield has let others run for the first time.
    yields_since: Option<Instant>,
}

impl Backoff {
    /// All pauses up to this one take about as long as to sleep and be woken.
    const LONGEST: u32 = 128;
    /// The items that are pushed meanwhile are a batch.
    const BATCH: u32 = 64;
    /// About as long as a yield.
    const YIELD: u32 = 16;
    /// A yield that takes less has let nobody run.
    const FUTILE: Duration = Duration::from_micros(2);
    /// Others have had their turn by then.
    const LONGEST_YIELDS: Duration = Duration::from_micros(100);

    fn new(first: u32, longest: u32, yields: bool) -> Self {
        assert_can_wait();
        Self { hints: first, longest, yields, yields_since: None }
    }

    /// Spends a moment before the next look, or returns `false` if it is time to sleep. In a model
    /// there is no time to spend.
    pub(crate) fn pause(&mut self) -> bool {
        if cfg!(any(bywash_loom, bywash_steps)) || self.hints > self.longest {
            return false;
        }
        if !self.yields || self.hints < Self::YIELD || !self.lets_others_run() {
            (0..self.hints).for_each(|_| hint::spin_loop());
            self.hints *= 2;
        }
        true
    }

    /// Yields. Returns whether others have run meanwhile.
    fn lets_others_run(&mut self) -> bool {
        let start = Instant::now();
        thread::yield_now();
        let end = Instant::now();
        if end - start < Self::FUTILE {
            return false;
        }
        if end - *self.yields_since.get_or_insert(start) >= Self::LONGEST_YIELDS {
            self.longest = 0;
        }
        true
    }
}

/// What one side of a queue remembers of its last wait. Nothing but time depends on it, so of
/// several threads one may overwrite what another has stored. The atomic is `core`'s in the models,
/// too.
#[derive(Debug)]
pub(crate) struct LastWait {
    /// How many items had been popped when the consumer's began, and in the lowest bit whether the
    /// last sleep was long.
    word: AtomicU64,
}

impl LastWait {
    /// Longer than two threads sleep that answer each other.
    const LONG_SLEEP: Duration = Duration::from_micros(60);
    /// As long as a yield.
    const SLOW_ITEM: Duration = Duration::from_micros(2);
    /// To fall asleep and to be woken takes as long as so many yields.
    const SLEEP: u64 = 2;

    pub(crate) const fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// For the consumer of a ring that so many items have left. A quarter of a small ring is a
    /// batch.
    pub(crate) fn before_pop(&self, popped: u64, capacity: usize) -> Backoff {
        let word = self.word.load(Ordering::Relaxed);
        let (popped_before, slept_long) = (word >> 1, word & 1);
        self.word.store(popped << 1 | slept_long, Ordering::Relaxed);
        let is_stream = popped.saturating_sub(popped_before) >= 2;
        let batch = (capacity / 4).clamp(1, Backoff::BATCH as usize) as u32;
        if slept_long != 0 {
            Backoff::new(1, Backoff::YIELD, true)
        } else {
            Backoff::new(if is_stream { batch } else { 1 }, Backoff::LONGEST, is_stream)
        }
    }

    /// For a producer, also for one that was woken.
    pub(crate) fn before_push(&self) -> Backoff {
        let slept_long = self.word.load(Ordering::Relaxed) & 1 != 0;
        Backoff::new(1, if slept_long { Backoff::YIELD } else { Backoff::LONGEST }, !slept_long)
    }

    /// Calls `sleep`, and remembers whether it takes long for what was `popped` meanwhile. If that
    /// was something, and less than the `queued` items that there were, the consumer never had to
    /// wait. So that is its pace, however brief the sleep.
    pub(crate) fn time<R>(
        &self,
        queued: u64,
        popped: impl Fn() -> u64,
        sleep: impl FnOnce() -> R,
    ) -> R {
        let (start, popped_before) = (Instant::now(), popped());
        let result = sleep();
        let (time, items) = (start.elapsed(), popped().saturating_sub(popped_before));
        let is_pace = (1..queued).contains(&items);
        let shortest = if is_pace { Duration::ZERO } else { Self::LONG_SLEEP };
        let items = u32::try_from(items.saturating_add(Self::SLEEP)).unwrap_or(u32::MAX);
        let for_items = Self::SLOW_ITEM.saturating_mul(items);
        let slept_long = u64::from(time >= for_items.max(shortest));
        let word = self.word.load(Ordering::Relaxed);
        if word & 1 != slept_long {
            self.word.store(word ^ 1, Ordering::Relaxed);
        }
        result
    }
}

#[cfg(all(test, not(any(bywash_loom, bywash_steps))))]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// How many hints its pauses take, and whether it may yield.
    fn pauses(backoff: &Backoff) -> (u32, u32, bool) {
        (backoff.hints, backoff.longest, backoff.yields)
    }

    const ANSWER: (u32, u32, bool) = (1, 128, false);
    const LITTLE_TO_DO: (u32, u32, bool) = (1, 16, true);
    const LITTLE_ROOM: (u32, u32, bool) = (1, 16, false);

    #[test]
    fn a_consumer_that_popped_fewer_than_two_items_since_its_last_wait_expects_an_answer() {
        let last = LastWait::new();
        let before_pop = |popped| pauses(&last.before_pop(popped, 1024));
        assert_eq!([0, 1, 2, 4, 4, 5].map(before_pop), {
            let stream = (64, 128, true);
            [ANSWER, ANSWER, ANSWER, stream, ANSWER, ANSWER]
        });
    }

    #[test]
    fn the_first_pause_in_a_stream_is_no_longer_than_a_quarter_of_the_ring_takes() {
        let first = |capacity| LastWait::new().before_pop(2, capacity).hints;
        assert_eq!([1, 3, 8, 255, 256, usize::MAX].map(first), [1, 1, 2, 63, 64, 64]);
    }

    #[test]
    fn a_producer_looks_at_once_and_yields() {
        assert_eq!(pauses(&LastWait::new().before_push()), (1, 128, true));
    }

    #[test]
    fn after_a_long_sleep_a_thread_sleeps_again_soon() {
        let last = LastWait::new();
        let sleep = || thread::sleep(LastWait::LONG_SLEEP);
        last.time(8, || 0, sleep);
        assert_eq!(pauses(&last.before_push()), LITTLE_ROOM);
        assert_eq!([0, 10].map(|popped| pauses(&last.before_pop(popped, 8))), [LITTLE_TO_DO; 2]);
        // A machine with much to do may make a brief sleep long.
        let is_brief = |_| {
            last.time(8, || 0, || ());
            pauses(&last.before_pop(10, 8)) == ANSWER
        };
        assert!((0..1000).any(is_brief));
    }

    #[test]
    fn a_sleep_is_not_long_in_which_many_items_were_popped() {
        let last = LastWait::new();
        last.time(8, || 0, || thread::sleep(LastWait::LONG_SLEEP));
        let popped = Cell::new(0);
        last.time(8, || popped.replace(u64::MAX), || thread::sleep(LastWait::LONG_SLEEP));
        assert_eq!(pauses(&last.before_push()), (1, 128, true));
    }

    #[test]
    fn a_brief_sleep_is_long_in_which_few_items_were_popped_though_there_were_more() {
        // As brief as on no system a sleep is.
        let sleep = || {
            let start = Instant::now();
            while start.elapsed() < 4 * LastWait::SLOW_ITEM {}
        };
        // A machine with much to do may make it long.
        let is_brief = |queued, items| {
            let (last, popped) = (LastWait::new(), Cell::new(0));
            last.time(queued, || popped.replace(items), sleep);
            pauses(&last.before_push()) == (1, 128, true)
        };
        assert!((0..1000).any(|_| is_brief(8, 0)));
        assert!((0..1000).any(|_| is_brief(8, 8)));
        assert!(!is_brief(8, 1));
    }

    #[test]
    fn pauses_get_longer_and_end() {
        let mut backoff = Backoff::new(1, Backoff::LONGEST, false);
        assert_eq!((0..100).take_while(|_| backoff.pause()).count(), 8);
        assert!(!backoff.pause());
    }

    #[test]
    fn yields_end_whether_others_run_or_not() {
        let mut backoff = Backoff::new(64, Backoff::LONGEST, true);
        while backoff.pause() {}
        let others_ran = backoff.yields_since.is_some();
        assert!(others_ran || backoff.hints > Backoff::LONGEST);
        backoff.yields_since = Instant::now().checked_sub(Backoff::LONGEST_YIELDS);
        backoff.longest = Backoff::LONGEST;
        if backoff.lets_others_run() {
            assert!(!backoff.pause());
        }
    }
}
