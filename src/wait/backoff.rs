//! What to do before sleeping, and what is learned from the waits before.
//!
//! A thread that comes back at once finds one item, or room for one. Then both sides fetch the same
//! cache lines from each other for every item. So where the queue has room for a batch, time for a
//! batch passes first: there is no spinning. Then the thread yields. Whether more than a few yields
//! pay depends on the load, and each side of a queue learns it, as an adaptive mutex learns whether
//! to spin:
//!
//! * *More threads than cores.* A yield lets others run, and a batch builds up. Such a yield takes
//!   longer than one that changes nothing, and is not counted as futile.
//! * *Little to do.* The last sleep was long, and so will be the next. It begins after a futile
//!   yield.
//! * *Question and answer.* The last sleep was short. If both threads sleep for each message, each
//!   is woken for each. If one stays awake until the other has been woken, both stay awake from
//!   then on. So a thread is *patient*, and yields for longer than it takes to wake another. It goes
//!   on to be patient while that ends within `SHORT_WAIT`, and otherwise tries again less and less
//!   often.
//! * *A steady stream.* The last sleep was short, and to be woken for each item costs more than the
//!   item, most of it in the producer's call. So the consumer *rests*: for `REST`, and as long as
//!   the system adds to that, it sleeps and nobody wakes it. It goes on to rest while it finds
//!   several items afterwards, and otherwise tries again less and less often. This is what network
//!   drivers call interrupt moderation.
//!
//! Nothing depends on what was learned but time. So all accesses are Relaxed, and of several
//! producers one may overwrite what another has learned. The atomics are `core`'s in the models too.
//! They share their line with words that the other side reads, so they are stored to only when what
//! was learned changes.

use core::hint;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use super::Deadline;

/// The time before a thread sleeps, or sleeps again: it spins, then it yields.
pub(crate) struct Backoff<'a> {
    pauses: u32,
    futile_yields_left: u32,
    yields_start: Option<Instant>,
    /// Is told at the end of the wait what came of it.
    patience: Option<&'a Trials>,
}

impl<'a> Backoff<'a> {
    /// A queue of this capacity has room for a batch.
    const BATCH: usize = 256;
    const PAUSES: u32 = 16;
    const FUTILE_YIELDS: u32 = 1;
    /// So many last for longer than it takes to wake another thread.
    const FUTILE_YIELDS_OF_THE_PATIENT: u32 = 100;
    /// A yield that takes less has let nobody run.
    const FUTILE: Duration = Duration::from_micros(2);
    /// Yielding never goes on for longer: on a core that other work keeps busy, one yield lasts a
    /// time slice, while a sleeper is woken soon.
    const YIELDS: Duration = Duration::from_micros(100);
    /// To yield for so long costs about as much as to sleep and be woken.
    const SHORT_WAIT: Duration = Duration::from_micros(5);

    /// For a consumer.
    pub(crate) fn for_item(capacity: usize, experience: &'a Experience) -> Self {
        let is_patient = experience.slept_briefly() && experience.patience.is_due();
        let patience = is_patient.then_some(&experience.patience);
        Self { patience, ..Self::new(capacity, is_patient) }
    }

    /// For a producer.
    pub(crate) fn for_room(capacity: usize, experience: &'a Experience) -> Self {
        Self::new(capacity, experience.slept_briefly())
    }

    /// For a producer that was woken, and may get what it waits for at once.
    pub(crate) fn after_sleep(experience: &'a Experience) -> Self {
        Self::for_room(0, experience)
    }

    fn new(capacity: usize, is_patient: bool) -> Self {
        Self {
            pauses: if capacity < Self::BATCH { 1 } else { Self::PAUSES + 1 },
            futile_yields_left: if is_patient {
                Self::FUTILE_YIELDS_OF_THE_PATIENT
            } else {
                Self::FUTILE_YIELDS
            },
            yields_start: None,
            patience: None,
        }
    }

    /// Spends a moment, or returns `false` once it is time to sleep. In a model there is no time to
    /// spend.
    pub(crate) fn pause(&mut self) -> bool {
        if cfg!(any(loom, bywash_steps)) {
            return false;
        }
        if self.pauses <= Self::PAUSES {
            (0..self.pauses).for_each(|_| hint::spin_loop());
            self.pauses *= 2;
            return true;
        }
        if self.futile_yields_left == 0 {
            return false;
        }
        let now = Instant::now();
        let start = *self.yields_start.get_or_insert(now);
        if now - start >= Self::YIELDS {
            return false;
        }
        thread::yield_now();
        if now.elapsed() < Self::FUTILE {
            self.futile_yields_left -= 1;
        }
        true
    }
}

impl Drop for Backoff<'_> {
    fn drop(&mut self) {
        if let Some(patience) = self.patience {
            let was_short =
                self.yields_start.is_none_or(|start| start.elapsed() < Self::SHORT_WAIT);
            patience.ended(was_short);
        }
    }
}

/// What one side of a queue has learned from its waits.
#[derive(Debug)]
pub(crate) struct Experience {
    /// The last sleep was long, or there was none yet.
    slept_long: AtomicBool,
    patience: Trials,
    rests: Trials,
}

impl Experience {
    const LONG_SLEEP: Duration = Duration::from_micros(100);
    const REST: Duration = Duration::from_micros(20);
    /// To be woken for each of fewer items costs no more than a rest.
    const SEVERAL: usize = 3;

    pub(crate) const fn new() -> Self {
        Self { slept_long: AtomicBool::new(true), patience: Trials::new(), rests: Trials::new() }
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

    /// Whether the last sleep was short, so that to stay awake may pay.
    fn slept_briefly(&self) -> bool {
        !self.slept_long.load(Ordering::Relaxed)
    }

    /// Rests, if that may pay and is over by then, and learns from how many items are there after
    /// it. Returns whether it has.
    pub(crate) fn rest(
        &self,
        deadline: Deadline,
        capacity: usize,
        len: impl FnOnce() -> usize,
    ) -> bool {
        let has_time =
            deadline.is_none_or(|end| end.saturating_duration_since(Instant::now()) > Self::REST);
        let rests = !cfg!(any(loom, bywash_steps))
            && has_time
            && self.slept_briefly()
            && self.rests.is_due();
        if rests {
            thread::sleep(Self::REST);
            // In a ring that is nearly full, producers were about to wait.
            self.rests.ended((Self::SEVERAL..=capacity / 2).contains(&len()));
        }
        rests
    }
}

/// Something that may pay. While it does not, it is tried less and less often.
#[derive(Debug)]
struct Trials {
    until_next: AtomicU32,
    failures: AtomicU32,
}

impl Trials {
    const MOST_FAILURES: u32 = 4;

    const fn new() -> Self {
        Self { until_next: AtomicU32::new(0), failures: AtomicU32::new(0) }
    }

    fn is_due(&self) -> bool {
        let left = self.until_next.load(Ordering::Relaxed);
        if left != 0 {
            self.until_next.store(left - 1, Ordering::Relaxed);
        }
        left == 0
    }

    fn ended(&self, has_paid: bool) {
        let before = self.failures.load(Ordering::Relaxed);
        let failures = if has_paid { 0 } else { (before + 1).min(Self::MOST_FAILURES) };
        if failures != 0 || before != 0 {
            self.failures.store(failures, Ordering::Relaxed);
            self.until_next.store(4_u32.pow(failures) - 1, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(any(loom, bywash_steps))))]
mod tests {
    use super::*;

    /// How many times it is not due before it is.
    fn pauses_of(trials: &Trials) -> usize {
        (0..).find(|_| trials.is_due()).expect("it is due at some time")
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often() {
        let trials = Trials::new();
        let pauses: Vec<_> = (0..6)
            .map(|_| {
                let pauses = pauses_of(&trials);
                trials.ended(false);
                pauses
            })
            .collect();
        assert_eq!(pauses, [0, 3, 15, 63, 255, 255]);
        assert_eq!(pauses_of(&trials), 255);
        trials.ended(true);
        assert_eq!(pauses_of(&trials), 0, "what pays is tried each time");
    }

    #[test]
    fn after_a_long_sleep_a_thread_sleeps_soon() {
        let experience = Experience::new();
        experience.slept_for(Experience::LONG_SLEEP);
        let backoff = Backoff::for_item(Backoff::BATCH, &experience);
        assert_eq!(backoff.futile_yields_left, Backoff::FUTILE_YIELDS);
        assert!(backoff.patience.is_none());
    }

    #[test]
    fn after_a_short_sleep_a_thread_is_patient_until_that_has_failed() {
        let experience = Experience::new();
        experience.slept_for(Duration::ZERO);
        for is_patient in [true, false, false, false, true, false] {
            let mut backoff = Backoff::for_item(Backoff::BATCH, &experience);
            assert_eq!(backoff.patience.is_some(), is_patient);
            while backoff.pause() {}
        }
    }

    #[test]
    fn a_thread_is_patient_as_long_as_that_pays() {
        let experience = Experience::new();
        experience.slept_for(Duration::ZERO);
        for _ in 0..10 {
            assert!(Backoff::for_item(Backoff::BATCH, &experience).patience.is_some());
        }
    }

    #[test]
    fn a_consumer_rests_while_it_finds_several_items() {
        let experience = Experience::new();
        let rest = |len| experience.rest(None, 8, || len);
        assert!(!rest(3), "there was no short sleep");
        experience.slept_for(Duration::ZERO);
        assert!((0..10).all(|_| rest(3)) && rest(4));
        for too_few_or_too_many in [2, 5] {
            assert!(rest(too_few_or_too_many));
            assert!(!rest(3));
            assert!((0..3).any(|_| rest(3)), "it tries again");
        }
        experience.slept_for(Experience::LONG_SLEEP);
        assert!(!rest(3), "the next sleep will be long, too");
    }

    #[test]
    fn a_consumer_rests_only_if_there_is_time_for_it() {
        let experience = Experience::new();
        experience.slept_for(Duration::ZERO);
        let now = Some(Instant::now());
        assert!(!experience.rest(now, 8, || 3));
        let later = now.and_then(|now| now.checked_add(Duration::from_secs(60)));
        assert!(experience.rest(later, 8, || 3));
    }
}
