//! What to do before sleeping, and what is learned from the waits before.
//!
//! A thread that comes back at once finds one item, or room for one. Then both sides fetch the same
//! cache lines from each other for every item. So where the queue has room for a batch, time for a
//! batch passes first: there is no spinning. Then the thread yields. Whether more than a few yields
//! pay depends on the load, and each side of a queue learns it, as glibc's adaptive mutex learns
//! for how long to spin:
//!
//! * *More threads than cores.* A yield lets others run, and a batch builds up. A yield that has
//!   let nobody run is *futile*, and it is time for the next step.
//! * *Little to do.* The last sleep was long, and so will be the next. The thread sleeps after one
//!   futile yield.
//! * *A steady stream.* The last sleep was short, and to be woken for each item costs more than the
//!   item, most of it in the producer's call. So the consumer *rests*: it sleeps for `REST`, plus
//!   what the system adds, and nobody wakes it. It keeps resting as long as it finds several items
//!   afterwards, and more come if it rests on. Network drivers do the same, and call it interrupt
//!   moderation.
//! * *Question and answer.* The last sleep was short. If both threads sleep for each message, each
//!   is woken for each message. So a thread is *patient*: it yields for longer than it takes to wake
//!   the other, and then for `SHORT_WAIT` each time, so that the other finds it awake. It stays
//!   patient as long as its waits are that short.
//!
//! What does not pay is tried again less and less often. Nothing but time depends on what was
//! learned. So all accesses are Relaxed, and of several producers one may overwrite what another has
//! learned. The atomics are `core`'s in the models too. They share their line with words that the
//! other side reads, so while what was learned pays, nothing is stored.

use core::hint;
use core::mem;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use super::{Deadline, sleep_for};

/// The time before a thread sleeps, or sleeps again: it spins, then it yields.
pub(crate) struct Backoff<'a> {
    pauses: u32,
    /// How long to yield, although that is futile.
    patience: Duration,
    yields_start: Option<Instant>,
    was_futile: bool,
    may_rest: bool,
    experience: &'a Experience,
    /// Whether the experience is told at the end of the wait what patience has brought.
    is_trial: bool,
}

impl<'a> Backoff<'a> {
    /// A queue of this capacity has room for a batch.
    const BATCH: usize = 256;
    const PAUSES: u32 = 16;
    /// A yield that takes less has let nobody run.
    const FUTILE: Duration = Duration::from_micros(2);
    /// Yielding never goes on for longer: on a core that other work keeps busy, one yield lasts a
    /// time slice, while a sleeper is woken soon.
    const LONGEST: Duration = Duration::from_micros(100);
    /// To yield for so long costs about as much as to sleep and be woken, for both threads together.
    const SHORT_WAIT: Duration = Duration::from_micros(15);

    /// Before a producer or consumer sleeps.
    pub(crate) fn before_sleep(capacity: usize, experience: &'a Experience) -> Self {
        let trials = &experience.patience;
        let is_patient = experience.slept_briefly() && trials.is_due();
        let patience = match is_patient {
            true if trials.is_first() => Self::LONGEST,
            true => Self::SHORT_WAIT,
            false => Duration::ZERO,
        };
        let pauses = if capacity < Self::BATCH { 1 } else { Self::PAUSES + 1 };
        Self { is_trial: is_patient, ..Self::new(pauses, patience, experience) }
    }

    /// For a producer that was woken, and may get what it waits for at once.
    pub(crate) fn after_sleep(experience: &'a Experience) -> Self {
        let patience = if experience.slept_briefly() { Self::LONGEST } else { Duration::ZERO };
        Self::new(1, patience, experience)
    }

    fn new(pauses: u32, patience: Duration, experience: &'a Experience) -> Self {
        Self {
            pauses,
            patience,
            yields_start: None,
            was_futile: false,
            may_rest: true,
            experience,
            is_trial: false,
        }
    }

    /// Spends a moment, or returns `false` once it is time for something else. In a model there is
    /// no time to spend.
    pub(crate) fn pause(&mut self) -> bool {
        self.spin() || self.pause_until(Duration::ZERO)
    }

    /// The same, for the patient.
    pub(crate) fn pause_patiently(&mut self) -> bool {
        self.pause_until(self.patience)
    }

    fn spin(&mut self) -> bool {
        if cfg!(any(loom, bywash_steps)) || self.pauses > Self::PAUSES {
            return false;
        }
        (0..self.pauses).for_each(|_| hint::spin_loop());
        self.pauses *= 2;
        true
    }

    fn pause_until(&mut self, patience: Duration) -> bool {
        if cfg!(any(loom, bywash_steps)) || self.was_futile && patience.is_zero() {
            return false;
        }
        let now = Instant::now();
        let passed = now - *self.yields_start.get_or_insert(now);
        if passed >= Self::LONGEST || self.was_futile && passed >= patience {
            return false;
        }
        thread::yield_now();
        self.was_futile |= now.elapsed() < Self::FUTILE;
        true
    }

    /// Rests, once, if a rest may pay and a long one fits before the deadline. For a consumer; `len`
    /// is how many items there are. Returns whether it has.
    pub(crate) fn rest(
        &mut self,
        deadline: Deadline,
        capacity: usize,
        len: impl Fn() -> usize,
    ) -> bool {
        let rests = mem::take(&mut self.may_rest) && self.experience.rest(deadline, capacity, len);
        // What comes of patience after a rest says nothing.
        self.is_trial &= !rests;
        rests
    }
}

impl Drop for Backoff<'_> {
    fn drop(&mut self) {
        if let (true, Some(start)) = (self.is_trial, self.yields_start) {
            let passed = start.elapsed();
            self.experience.patience.ended(passed < Self::SHORT_WAIT, passed.subsec_nanos());
        }
    }
}

/// What one side of a queue has learned from its waits.
#[derive(Debug)]
pub(crate) struct Experience {
    /// The last sleep was long, or there was none yet.
    slept_long: AtomicBool,
    /// Pays only if the other thread is patient, too. So it is tried several times in a row.
    patience: Trials<8, 4>,
    /// One is long for threads that answer each other. So it is tried more rarely.
    rests: Trials<1, 5>,
    rests_until_check: AtomicU32,
}

impl Experience {
    /// Longer than two threads sleep that answer each other.
    const LONG_SLEEP: Duration = Duration::from_micros(60);
    const REST: Duration = Duration::from_micros(20);
    /// Where the system adds more to a rest, it is none.
    const LONG_REST: Duration = Duration::from_micros(200);
    /// To be woken for each of fewer items costs no more than a rest.
    const SEVERAL: usize = 3;
    const RESTS_UNTIL_CHECK: u32 = 64;

    pub(crate) const fn new() -> Self {
        Self {
            slept_long: AtomicBool::new(true),
            patience: Trials::new(),
            rests: Trials::new(),
            rests_until_check: AtomicU32::new(0),
        }
    }

    /// Calls `sleep`, and learns how long it takes.
    pub(crate) fn time<R>(&self, sleep: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = sleep();
        self.slept_for(start.elapsed());
        result
    }

    fn slept_for(&self, duration: Duration) {
        let is_long = duration >= Self::LONG_SLEEP;
        if is_long == self.slept_briefly() {
            self.slept_long.store(is_long, Ordering::Relaxed);
        }
    }

    /// Whether the last sleep was short, so that there may be something better.
    fn slept_briefly(&self) -> bool {
        !self.slept_long.load(Ordering::Relaxed)
    }

    /// See [`Backoff::rest`]. Learns from how many items are there after the rest.
    fn rest(&self, deadline: Deadline, capacity: usize, len: impl Fn() -> usize) -> bool {
        let fits = deadline
            .is_none_or(|end| end.saturating_duration_since(Instant::now()) > Self::LONG_REST);
        let rests =
            !cfg!(any(loom, bywash_steps)) && fits && self.slept_briefly() && self.rests.is_due();
        if rests {
            let start = Instant::now();
            sleep_for(Self::REST);
            let has_paid = Self::has_rest_paid(start.elapsed(), len(), capacity);
            self.rests.ended(has_paid && self.is_stream(len), 0);
        }
        rests
    }

    fn has_rest_paid(took: Duration, len: usize, capacity: usize) -> bool {
        // In a ring that is nearly full, producers were about to wait.
        took < Self::LONG_REST && (Self::SEVERAL..=capacity / 2).contains(&len)
    }

    /// Whether items come although none is popped: a thread that sends several and then waits for
    /// the answers would wait for the end of each rest. To find out takes another rest, so it is
    /// found out now and then.
    fn is_stream(&self, len: impl Fn() -> usize) -> bool {
        let left = self.rests_until_check.load(Ordering::Relaxed);
        if left != 0 {
            self.rests_until_check.store(left - 1, Ordering::Relaxed);
            return true;
        }
        let before = len();
        sleep_for(Self::REST);
        let is_stream = len() > before;
        if is_stream {
            self.rests_until_check.store(Self::RESTS_UNTIL_CHECK, Ordering::Relaxed);
        }
        is_stream
    }
}

/// Something that may pay off. While it does not, it is tried less and less often, each time
/// `IN_A_ROW` times. After `MOST_FAILURES` rows it gets no rarer.
#[derive(Debug)]
struct Trials<const IN_A_ROW: u32, const MOST_FAILURES: u32> {
    failed_in_a_row: AtomicU32,
    failures: AtomicU32,
    until_next: AtomicU32,
}

impl<const IN_A_ROW: u32, const MOST_FAILURES: u32> Trials<IN_A_ROW, MOST_FAILURES> {
    const NOISE: u32 = 16;

    const fn new() -> Self {
        let [failed_in_a_row, failures, until_next] = [const { AtomicU32::new(0) }; 3];
        Self { failed_in_a_row, failures, until_next }
    }

    fn is_due(&self) -> bool {
        let left = self.until_next.load(Ordering::Relaxed);
        if left != 0 {
            self.until_next.store(left - 1, Ordering::Relaxed);
        }
        left == 0
    }

    /// Whether the last one has not failed, or not just now.
    fn is_first(&self) -> bool {
        self.failed_in_a_row.load(Ordering::Relaxed) == 0
    }

    /// `noise` is any number: if two threads that answer each other are patient in turns, let it be
    /// at the same time at some time.
    fn ended(&self, has_paid: bool, noise: u32) {
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

#[cfg(all(test, not(any(loom, bywash_steps))))]
mod tests {
    use core::cell::Cell;

    use super::*;

    fn after_a_sleep_of(duration: Duration) -> Experience {
        let experience = Experience::new();
        experience.slept_for(duration);
        experience
    }

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

    #[test]
    fn after_a_long_sleep_nobody_is_patient() {
        for experience in [Experience::new(), after_a_sleep_of(Experience::LONG_SLEEP)] {
            let backoff = Backoff::before_sleep(1024, &experience);
            assert_eq!((backoff.patience, backoff.is_trial), (Duration::ZERO, false));
            assert_eq!(Backoff::after_sleep(&experience).patience, Duration::ZERO);
        }
    }

    #[test]
    fn after_a_short_sleep_a_thread_is_patient_until_that_has_failed() {
        let experience = after_a_sleep_of(Duration::ZERO);
        let wait = |_| {
            let mut backoff = Backoff::before_sleep(1024, &experience);
            while backoff.pause() || backoff.pause_patiently() {}
            backoff.patience
        };
        let [first, then, never] = [Backoff::LONGEST, Backoff::SHORT_WAIT, Duration::ZERO];
        let row = [first, then, then, then, then, then, then, then];
        assert_eq!([0; 8].map(wait), row);
        assert_eq!([0; 3].map(wait), [never; 3]);
        assert_eq!(Backoff::after_sleep(&experience).patience, first);
    }

    #[test]
    fn a_thread_that_found_something_at_once_has_learned_nothing() {
        let experience = after_a_sleep_of(Duration::ZERO);
        for _ in 0..10 {
            let mut backoff = Backoff::before_sleep(8, &experience);
            assert!(backoff.pause(), "it spins");
            assert!(backoff.is_trial && experience.patience.is_first());
        }
    }

    #[test]
    fn a_yield_that_was_futile_is_the_last_without_patience() {
        let experience = Experience::new();
        let mut backoff = Backoff::before_sleep(1024, &experience);
        while backoff.pause() {}
        let took_long = backoff.yields_start.unwrap().elapsed() >= Backoff::LONGEST;
        assert!(backoff.was_futile || took_long);
        assert!(!backoff.pause_patiently());
    }

    #[test]
    fn a_rest_pays_if_it_is_short_and_there_are_several_items_and_much_room() {
        let (short, long) = (Experience::REST, Experience::LONG_REST);
        assert!([3, 4].iter().all(|&len| Experience::has_rest_paid(short, len, 8)));
        assert!([0, 2, 5, 8].iter().all(|&len| !Experience::has_rest_paid(short, len, 8)));
        assert!(!Experience::has_rest_paid(long, 3, 8));
    }

    #[test]
    fn a_stream_goes_on_although_nothing_is_popped() {
        let experience = Experience::new();
        assert!(!experience.is_stream(|| 8));
        let len = Cell::new(0);
        let growing = || len.replace(len.get() + 1);
        assert!(experience.is_stream(growing));
        assert_eq!((0..1000).position(|_| !experience.is_stream(|| 8)), Some(64));
        assert!(!experience.is_stream(|| 8), "until it is one again");
    }

    #[test]
    fn a_consumer_rests_while_it_finds_several_items() {
        let rest = |experience: &Experience, len| experience.rest(None, 8, || len);
        assert!(!rest(&Experience::new(), 3), "there was no short sleep");
        let long = after_a_sleep_of(Experience::LONG_SLEEP);
        assert!(!rest(&long, 3), "the next sleep will be long, too");
        for too_few_or_too_many in [2, 5] {
            let experience = after_a_sleep_of(Duration::ZERO);
            assert!(rest(&experience, too_few_or_too_many));
            assert!(!rest(&experience, 3));
            assert!((0..3).any(|_| rest(&experience, 3)), "it tries again");
        }
    }

    #[test]
    fn a_consumer_rests_once_and_only_if_there_is_time_for_it() {
        let experience = after_a_sleep_of(Duration::ZERO);
        let now = Instant::now();
        let mut backoff = Backoff::before_sleep(1024, &experience);
        assert!(!backoff.rest(now.checked_add(Experience::LONG_REST), 8, || 3));
        let mut backoff = Backoff::before_sleep(1024, &experience);
        let later = now.checked_add(Duration::from_secs(60));
        assert!(backoff.rest(later, 8, || 3));
        assert!(!backoff.rest(later, 8, || 3));
        assert!(!backoff.is_trial, "what comes after a rest is no trial of patience");
    }

    #[test]
    fn a_sleep_is_timed() {
        let experience = Experience::new();
        let long = Experience::LONG_SLEEP;
        experience.slept_for(Duration::ZERO);
        experience.time(|| thread::sleep(long));
        assert!(!experience.slept_briefly());
    }
}
