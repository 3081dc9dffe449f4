//! What a consumer does while items come in a stream: more of them without a pop between.
//!
//! * *A fast one.* A consumer that takes each item as soon as it is published fetches the cache
//!   lines that producers are about to write, and delays them. So if several items have come in
//!   quick succession while the consumer yielded, it may *gather* a batch: it does not look until
//!   the ring should be half full. But a thread that sends many items and then waits for the
//!   answers waits for the batch, too. Nothing that the consumer sees of its queue tells the one
//!   from the other but how many items it pops in how long. So it compares.
//! * *A steady one.* If the last sleep was short, to be woken for each item costs more than the
//!   item, most of it in the producer's call. So the consumer *rests*: it sleeps for `REST`, plus
//!   what the system adds, and nobody wakes it. It keeps resting as long as it finds several items
//!   afterwards, and more come if it rests on: a thread that sends several and then waits for the
//!   answers would wait for the end of each rest. Network drivers do the same, and call it
//!   interrupt moderation.

use core::hint;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::time::{Instant, SystemTime};

use super::trials::{Comparison, Trials};
use super::{Deadline, sleep_for};

/// What the consumer has learned of its streams.
#[derive(Debug)]
pub(crate) struct Stream {
    batches: Comparison,
    rests: Trials<1, 5>,
    rests_until_check: AtomicU32,
}

impl Stream {
    /// To be woken for each of fewer items costs no more than a rest, and fewer are no batch.
    const SEVERAL: usize = 3;
    /// The time between two items of a fast stream. To look for each delays the producer about as
    /// long.
    const QUICK: Duration = Duration::from_nanos(100);
    /// From the first yield on.
    const LONGEST_BATCH: Duration = Duration::from_micros(4);
    /// How many times the capacity is measured at once. Threads that answer each other wait for
    /// answers several times meanwhile, and their waiting counts.
    const LAPS_PER_ROW: u64 = 16;
    /// For a larger queue, rows get no longer, or it would learn too late. Threads that send more
    /// than a row before they wait are not compared well, but to them 4 µs are little.
    const LARGE: usize = 4096;
    const REST: Duration = Duration::from_micros(20);
    /// If the system adds more to a rest, it is none.
    const LONG_REST: Duration = Duration::from_micros(200);
    const RESTS_UNTIL_CHECK: u32 = 64;

    pub(crate) const fn new() -> Self {
        Self {
            batches: Comparison::new(),
            rests: Trials::new(),
            rests_until_check: AtomicU32::new(0),
        }
    }

    /// Waits for a batch, if batches pay, and if items have come in quick succession since `start`,
    /// when none was ready. `popped` is how many have left the ring, `len` how many slots are in
    /// use.
    pub(super) fn gather(
        &self,
        start: Instant,
        capacity: usize,
        popped: u64,
        len: impl FnOnce() -> usize,
    ) {
        // There is a batch only if several items make up a quarter of the ring.
        if capacity / 4 < Self::SEVERAL {
            return;
        }
        let items_per_row = Self::LAPS_PER_ROW * capacity.min(Self::LARGE) as u64;
        if !self.batches.is_due(popped, items_per_row, SystemTime::now) {
            return;
        }
        let (len, elapsed) = (len(), start.elapsed());
        let end = elapsed * Self::times_as_long(len, elapsed, capacity);
        while start.elapsed() < end {
            hint::spin_loop();
        }
    }

    /// How many times as long as it took for `len` items to wait for a batch, from the start on.
    fn times_as_long(len: usize, elapsed: Duration, capacity: usize) -> u32 {
        let [elapsed, quick, longest] =
            [elapsed, Self::QUICK, Self::LONGEST_BATCH].map(|time| time.as_nanos());
        if len < Self::SEVERAL || elapsed > quick * len as u128 {
            return 0;
        }
        let for_half = (capacity / 2 / len) as u128;
        for_half.min(longest / elapsed.max(1)) as u32
    }

    /// Rests, if a rest may pay and a long one fits before the deadline. Learns from how many items
    /// are there afterwards. Returns whether it has.
    pub(super) fn rest(
        &self,
        deadline: Deadline,
        capacity: usize,
        len: impl Fn() -> usize,
    ) -> bool {
        let fits = deadline
            .is_none_or(|end| end.saturating_duration_since(Instant::now()) > Self::LONG_REST);
        let rests = fits && self.rests.is_due();
        if rests {
            let start = Instant::now();
            sleep_for(Self::REST);
            let has_paid = Self::has_rest_paid(start.elapsed(), len(), capacity);
            self.rests.ended(has_paid && self.goes_on(len), 0);
            self.slept_for(start.elapsed());
        }
        rests
    }

    /// While the consumer sleeps, nothing can be faster.
    pub(super) fn slept_for(&self, time: Duration) {
        self.batches.leave_out(time);
    }

    fn has_rest_paid(took: Duration, len: usize, capacity: usize) -> bool {
        // In a ring that is nearly full, producers were about to wait.
        took < Self::LONG_REST && (Self::SEVERAL..=capacity / 2).contains(&len)
    }

    /// Whether items come although none is popped. To find out takes another rest, so it is found
    /// out now and then.
    fn goes_on(&self, len: impl Fn() -> usize) -> bool {
        let left = self.rests_until_check.load(Ordering::Relaxed);
        if left != 0 {
            self.rests_until_check.store(left - 1, Ordering::Relaxed);
            return true;
        }
        let before = len();
        sleep_for(Self::REST);
        let goes_on = len() > before;
        if goes_on {
            self.rests_until_check.store(Self::RESTS_UNTIL_CHECK, Ordering::Relaxed);
        }
        goes_on
    }
}

#[cfg(all(test, not(any(bywash_loom, bywash_steps))))]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A number of items that grows by so many with each look.
    fn growing(step: usize) -> impl Fn() -> usize {
        let len = Cell::new(0);
        move || len.replace(len.get() + step)
    }

    #[test]
    fn a_batch_takes_until_half_of_the_ring_is_full_but_not_long() {
        let nanos = Duration::from_nanos;
        let times = Stream::times_as_long;
        assert_eq!(times(64, nanos(400), 1024), 8);
        assert_eq!(times(64, nanos(400), 512), 4);
        assert_eq!(times(64, nanos(400), 65536), 10, "4 µs in all");
        assert_eq!(times(600, nanos(400), 1024), 0, "it is full enough");
        assert_eq!(times(4, nanos(400), 1024), 10);
        assert_eq!(times(4, nanos(401), 1024), 0, "too slow to be a stream");
        assert_eq!(times(2, nanos(1), 1024), 0, "too few");
        assert_eq!(times(0, nanos(0), 1024), 0);
        assert_eq!(times(usize::MAX, Duration::MAX, usize::MAX), 0);
        assert_eq!(times(usize::MAX, nanos(0), usize::MAX), 0);
        assert_eq!(times(3, nanos(0), 1024), 170);
    }

    #[test]
    fn a_rest_pays_if_it_is_short_and_there_are_several_items_and_much_room() {
        let (short, long) = (Stream::REST, Stream::LONG_REST);
        assert!([3, 4].iter().all(|&len| Stream::has_rest_paid(short, len, 8)));
        assert!([0, 2, 5, 8].iter().all(|&len| !Stream::has_rest_paid(short, len, 8)));
        assert!(!Stream::has_rest_paid(long, 3, 8));
    }

    #[test]
    fn a_stream_goes_on_although_nothing_is_popped() {
        let stream = Stream::new();
        assert!(!stream.goes_on(|| 8));
        assert!(stream.goes_on(growing(1)));
        assert_eq!((0..1000).position(|_| !stream.goes_on(|| 8)), Some(64));
        assert!(!stream.goes_on(|| 8), "until it is one again");
    }

    #[test]
    fn a_consumer_rests_while_it_finds_several_items() {
        let rest = |stream: &Stream, len| stream.rest(None, 8, || len);
        for too_few_or_too_many in [2, 5] {
            let stream = Stream::new();
            assert!(rest(&stream, too_few_or_too_many));
            assert!(!rest(&stream, 3));
            assert!((0..3).any(|_| rest(&stream, 3)), "it tries again");
        }
    }
}
