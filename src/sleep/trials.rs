//! Learning whether something pays off.
//!
//! Nothing but time depends on what was learned. So all accesses are Relaxed, and of several
//! threads one may overwrite what another has learned. The atomics are `core`'s in the models too.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

/// Something that may pay off. While it does not, it is tried less and less often, each time
/// `IN_A_ROW` times. After `MOST_FAILURES` rows it gets no rarer. While it pays off, nothing is
/// stored.
#[derive(Debug)]
pub(super) struct Trials<const IN_A_ROW: u32, const MOST_FAILURES: u32> {
    failed_in_a_row: AtomicU32,
    failures: AtomicU32,
    until_next: AtomicU32,
}

impl<const IN_A_ROW: u32, const MOST_FAILURES: u32> Trials<IN_A_ROW, MOST_FAILURES> {
    const NOISE: u32 = 16;

    pub(super) const fn new() -> Self {
        let [failed_in_a_row, failures, until_next] = [const { AtomicU32::new(0) }; 3];
        Self { failed_in_a_row, failures, until_next }
    }

    pub(super) fn is_due(&self) -> bool {
        let left = self.until_next.load(Ordering::Relaxed);
        if left != 0 {
            self.until_next.store(left - 1, Ordering::Relaxed);
        }
        left == 0
    }

    /// Whether the last one has not failed, or not just now.
    pub(super) fn is_first(&self) -> bool {
        self.failed_in_a_row.load(Ordering::Relaxed) == 0
    }

    /// `noise` is any number: if two threads that answer each other are patient in turns, let it be
    /// at the same time at some time.
    pub(super) fn ended(&self, has_paid: bool, noise: u32) {
        let failed = self.failed_in_a_row.load(Ordering::Relaxed);
        let failures = self.failures.load(Ordering::Relaxed);
        if has_paid {
            if failed != 0 || failures != 0 {
                self.failed_in_a_row.store(0, Ordering::Relaxed);
                self.failures.store(0, Ordering::Relaxed);
            }
        } else if failed + 1 < IN_A_ROW {
            self.failed_in_a_row.store(failed + 1, Ordering::Relaxed);
        } else {
            let failures = (failures + 1).min(MOST_FAILURES);
            self.failed_in_a_row.store(0, Ordering::Relaxed);
            self.failures.store(failures, Ordering::Relaxed);
            let until_next = 4_u32.pow(failures) - 1 + noise % Self::NOISE;
            self.until_next.store(until_next, Ordering::Relaxed);
        }
    }
}

/// Something that may let more items pass. To find out takes measuring: every now and then it is
/// done and left out, for a row of items each.
#[derive(Debug)]
pub(super) struct Comparison {
    is_done: AtomicBool,
    /// How many rows since the last measurement began.
    row: AtomicU32,
    /// When the row began, in nanoseconds, and how many items had passed.
    start: AtomicU64,
    passed: AtomicU64,
    /// How long the row before took for an item, in picoseconds.
    before: AtomicU64,
}

impl Comparison {
    const PERIOD: u32 = 256;
    /// The first rows say nothing: memory is touched for the first time, threads start.
    const FIRST_ROW: u32 = Self::PERIOD - 2;

    pub(super) const fn new() -> Self {
        let [start, passed, before] = [const { AtomicU64::new(0) }; 3];
        Self {
            is_done: AtomicBool::new(false),
            row: AtomicU32::new(Self::FIRST_ROW),
            start,
            passed,
            before,
        }
    }

    /// Whether to do it now. `passed` is how many items have passed so far.
    pub(super) fn is_due(
        &self,
        passed: u64,
        items_per_row: u64,
        now: impl FnOnce() -> SystemTime,
    ) -> bool {
        let items = passed.saturating_sub(self.passed.load(Ordering::Relaxed));
        if items >= items_per_row {
            self.passed.store(passed, Ordering::Relaxed);
            self.row_ends(items, now());
        }
        self.is_done.load(Ordering::Relaxed)
    }

    /// Leaves this time out of the row: nobody wanted to be faster.
    pub(super) fn leave_out(&self, time: Duration) {
        let start = self.start.load(Ordering::Relaxed);
        self.start.store(start.saturating_add(time.as_nanos() as u64), Ordering::Relaxed);
    }

    #[cold]
    fn row_ends(&self, items: u64, now: SystemTime) {
        // If the clock is set, one measurement is wrong. An `Instant` does not fit into an atomic.
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
        let nanos = now.saturating_sub(self.start.swap(now, Ordering::Relaxed));
        let this = nanos.saturating_mul(1000) / items;
        let before = self.before.swap(this, Ordering::Relaxed);
        let is_done = self.is_done.load(Ordering::Relaxed);
        let row = self.row.load(Ordering::Relaxed);
        self.row.store((row + 1) % Self::PERIOD, Ordering::Relaxed);
        let is_done = match row {
            0 => !is_done,
            1 if is_done => Self::pays(this, before),
            1 => Self::pays(before, this),
            _ => return,
        };
        self.is_done.store(is_done, Ordering::Relaxed);
    }

    /// Whether that is faster by more than chance.
    fn pays(with: u64, without: u64) -> bool {
        with < without - without / 16
    }
}

#[cfg(all(test, not(any(bywash_loom, bywash_steps))))]
mod tests {
    use super::*;

    /// How many times it is not due before it is.
    fn pauses_of<const R: u32, const F: u32>(trials: &Trials<R, F>) -> usize {
        (0..1000).find(|_| trials.is_due()).expect("it is due at some time")
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often() {
        let trials = Trials::<1, 4>::new();
        let fail = |_| {
            let pauses = pauses_of(&trials);
            trials.ended(false, 0);
            pauses
        };
        assert_eq!([0; 6].map(fail), [0, 3, 15, 63, 255, 255]);
        assert_eq!(pauses_of(&trials), 255);
        trials.ended(true, 0);
        assert_eq!(pauses_of(&trials), 0, "what pays is tried each time");
        trials.ended(false, 33);
        assert_eq!(pauses_of(&trials), 3 + 1);
    }

    #[test]
    fn it_is_tried_several_times_in_a_row() {
        let trials = Trials::<3, 4>::new();
        let fail = |_| {
            let outcome = (pauses_of(&trials), trials.is_first());
            trials.ended(false, 0);
            outcome
        };
        let row = [(0, true), (0, false), (0, false)];
        assert_eq!([0; 3].map(fail), row);
        assert_eq!([0; 3].map(fail), [(3, true), (0, false), (0, false)]);
        assert_eq!((pauses_of(&trials), trials.is_first()), (15, true));
        trials.ended(true, 0);
        assert_eq!([0; 2].map(fail), row[..2]);
        trials.ended(true, 0);
        assert_eq!([0; 3].map(fail), row, "success begins a new row");
    }

    /// For how many of 256 rows something is done that lets an item pass in so many microseconds,
    /// instead of 100. (Clocks of systems differ in what is less.) In some rows there is a sleep.
    fn rows_done(micros: u64) -> usize {
        let comparison = Comparison::new();
        let (mut now, mut passed) = (UNIX_EPOCH, 0);
        let mut next_row = |_: &_| {
            passed += 9;
            assert_eq!(
                comparison.is_due(passed, 10, || unreachable!()),
                comparison.is_due(0, 10, || now)
            );
            passed += 1;
            let is_due = comparison.is_due(passed, 10, || now);
            now += Duration::from_micros(10 * if is_due { micros } else { 100 });
            let sleep = Duration::from_millis(if passed % 30 == 0 { 50 } else { 0 });
            now += sleep;
            comparison.leave_out(sleep);
            is_due
        };
        (0..1000).for_each(|row| _ = next_row(&row));
        (0..256).filter(&mut next_row).count()
    }

    #[test]
    fn what_lets_more_items_pass_is_done() {
        assert_eq!([1, 90, 95, 100, 200, 10_000].map(rows_done), [255, 255, 1, 1, 1, 1]);
    }
}
