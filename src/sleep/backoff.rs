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
//!   futile yield: a burst may have begun. And on Linux, consumers that went to sleep without a
//!   yield were seen to preempt the thread whose push woke them: the push took 2.5 times as long.
//! * *A stream.* Items come although none is popped: the consumer gathers a batch, or rests
//!   (`stream.rs`).
//! * *Question and answer.* The last sleep was short. If both threads sleep for each message, each
//!   is woken for each message. So a thread is *patient*: it yields for longer than it takes to
//!   wake the other, and then for `SHORT_WAIT` each time, so that the other finds it awake. It
//!   stays patient as long as its waits are that short.
//!
//! What does not pay is tried again less and less often (`trials.rs`).

use core::hint;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use super::stream::Stream;
use super::trials::Trials;
use super::{Deadline, assert_can_wait, is_over};

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
    gave_up: bool,
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
    /// To yield for so long costs about as much as to sleep and be woken, for both threads
    /// together.
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
        assert_can_wait();
        Self {
            pauses,
            patience,
            yields_start: None,
            was_futile: false,
            may_rest: true,
            experience,
            is_trial: false,
            gave_up: false,
        }
    }

    /// Whether it is time to give up. Then patience has brought nothing.
    pub(crate) fn is_over(&mut self, deadline: Deadline) -> bool {
        self.gave_up = is_over(deadline);
        self.gave_up
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
        if cfg!(any(bywash_loom, bywash_steps)) || self.pauses > Self::PAUSES {
            return false;
        }
        (0..self.pauses).for_each(|_| hint::spin_loop());
        self.pauses *= 2;
        true
    }

    fn pause_until(&mut self, patience: Duration) -> bool {
        if cfg!(any(bywash_loom, bywash_steps)) || self.was_futile && patience.is_zero() {
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

    /// For a consumer: rests, once, if the last sleep was short. `len` is how many items there are.
    /// Returns whether it has.
    pub(crate) fn rest(
        &mut self,
        stream: &Stream,
        deadline: Deadline,
        capacity: usize,
        len: impl Fn() -> usize,
    ) -> bool {
        let may_rest = !cfg!(any(bywash_loom, bywash_steps))
            && mem::take(&mut self.may_rest)
            && self.experience.slept_briefly();
        let rests = may_rest && stream.rest(deadline, capacity, len);
        // What comes of patience after a rest says nothing.
        self.is_trial &= !rests;
        rests
    }

    /// For a consumer that has spent a moment: waits for a batch, if items come in quick succession
    /// since the first yield.
    /// `popped` is how many have left the ring.
    pub(crate) fn gather(
        &self,
        stream: &Stream,
        capacity: usize,
        popped: u64,
        len: impl FnOnce() -> usize,
    ) {
        if let Some(start) = self.yields_start {
            stream.gather(start, capacity, popped, len);
        }
    }
}

impl Drop for Backoff<'_> {
    fn drop(&mut self) {
        if let (true, Some(start)) = (self.is_trial, self.yields_start) {
            let passed = start.elapsed();
            let has_paid = passed < Self::SHORT_WAIT && !self.gave_up;
            self.experience.patience.ended(has_paid, passed.subsec_nanos());
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
}

impl Experience {
    /// Longer than two threads sleep that answer each other.
    const LONG_SLEEP: Duration = Duration::from_micros(60);

    pub(crate) const fn new() -> Self {
        Self { slept_long: AtomicBool::new(true), patience: Trials::new() }
    }

    /// Calls `sleep`, and learns how long it takes.
    pub(crate) fn time<R>(&self, sleep: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = sleep();
        self.slept_for(start.elapsed());
        result
    }

    pub(super) fn slept_for(&self, duration: Duration) {
        let is_long = duration >= Self::LONG_SLEEP;
        if is_long == self.slept_briefly() {
            self.slept_long.store(is_long, Ordering::Relaxed);
        }
    }

    /// Whether the last sleep was short, so that there may be something better.
    pub(super) fn slept_briefly(&self) -> bool {
        !self.slept_long.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(any(bywash_loom, bywash_steps))))]
mod tests {
    use super::*;

    fn after_a_sleep_of(duration: Duration) -> Experience {
        let experience = Experience::new();
        experience.slept_for(duration);
        experience
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
    fn patience_until_the_deadline_has_brought_nothing() {
        let experience = after_a_sleep_of(Duration::ZERO);
        let is_patient = |_| {
            let mut backoff = Backoff::before_sleep(1024, &experience);
            assert!(!backoff.is_over(None));
            let is_patient = backoff.pause() && backoff.is_trial;
            assert!(backoff.is_over(Some(Instant::now())));
            is_patient
        };
        assert_eq!((0..100).position(|wait| !is_patient(wait)), Some(8));
    }

    #[test]
    fn a_consumer_rests_once_and_only_after_a_short_sleep_and_if_there_is_time_for_it() {
        let later = Instant::now().checked_add(Duration::from_secs(60));
        let rest =
            |backoff: &mut Backoff<'_>, deadline| backoff.rest(&Stream::new(), deadline, 8, || 3);
        for experience in [Experience::new(), after_a_sleep_of(Experience::LONG_SLEEP)] {
            let mut backoff = Backoff::before_sleep(1024, &experience);
            assert!(!rest(&mut backoff, None), "the next sleep will be long");
        }
        let experience = after_a_sleep_of(Duration::ZERO);
        let mut backoff = Backoff::before_sleep(1024, &experience);
        assert!(!rest(&mut backoff, Some(Instant::now())));
        let mut backoff = Backoff::before_sleep(1024, &experience);
        assert!(rest(&mut backoff, later));
        assert!(!rest(&mut backoff, later));
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
