//! Windows: `WaitOnAddress` to sleep and its counterparts to wake, and `FlushProcessWriteBuffers`
//! for the sleeper's half of a fence.
//!
//! A wake leaves the last error alone, as on Linux it leaves `errno`.
//!
//! Wine's `FlushProcessWriteBuffers` returns without having done anything. A program for Wine is
//! built with `--cfg bywash_fences`: then both barriers are fences.

use core::sync::atomic::Ordering;
use core::time::Duration;

use crate::sync::AtomicU64;
use crate::windows::{
    FlushProcessWriteBuffers, INFINITE, Sleep, WaitOnAddress, WakeByAddressAll,
    WakeByAddressSingle, keep_last_error,
};

const NAP: Duration = Duration::from_millis(1);

/// A word that can be slept on until it changes.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU64,
}

impl Futex {
    pub(crate) const fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn value(&self) -> &AtomicU64 {
        &self.word
    }

    /// Sleeps while the word is `seen`, for `timeout` at most. May return early for no reason.
    pub(crate) fn wait(&self, seen: u64, timeout: Option<Duration>) {
        #[cfg(test)]
        tests::SLEEPS.set(tests::SLEEPS.get() + 1);
        let milliseconds = timeout.map_or(INFINITE, milliseconds);
        let (word, seen) = (self.word.as_ptr().cast(), (&raw const seen).cast());
        // SAFETY: both addresses are valid for the call, and of that size. Whatever it returns, the
        // caller looks again.
        unsafe { WaitOnAddress(word, seen, size_of::<u64>(), milliseconds) };
    }

    /// As `wait`, where the look before may have missed something: not for long.
    pub(crate) fn nap(&self, seen: u64, timeout: Option<Duration>) {
        self.wait(seen, Some(timeout.map_or(NAP, |timeout| timeout.min(NAP))));
    }

    /// Wakes a sleeper, or all if `count` is larger: those that find nothing sleep again. Leaves
    /// the last error alone.
    pub(crate) fn wake(&self, count: i32) {
        let wake = if count == 1 { WakeByAddressSingle } else { WakeByAddressAll };
        // SAFETY: they only compare the address.
        keep_last_error(|| unsafe { wake(self.word.as_ptr().cast()) });
    }
}

/// Rounded up. The cut, at 24 days, is longer than anybody waits.
fn milliseconds(duration: Duration) -> u32 {
    duration.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as u32
}

/// Orders what this thread did before with what it does after, as seen by a thread that issues a
/// [`heavy_barrier`].
#[inline]
pub(crate) fn light_barrier() {
    if cfg!(bywash_fences) {
        crate::sync::fence(Ordering::SeqCst);
    } else {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }
}

/// A sequentially consistent fence in every running thread of the process, which Windows always
/// has.
pub(crate) fn heavy_barrier() -> bool {
    if cfg!(bywash_fences) {
        crate::sync::fence(Ordering::SeqCst);
    } else {
        // SAFETY: it has no conditions.
        unsafe { FlushProcessWriteBuffers() };
    }
    true
}

/// Sleeps for a moment. For handlers too: it is one system call, and sets no error.
pub(crate) fn sleep_briefly() {
    // SAFETY: it has no conditions.
    unsafe { Sleep(1) };
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::windows::{GetLastError, SetLastError};

    std::thread_local! {
        /// How often the calling thread has gone to sleep.
        pub(super) static SLEEPS: Cell<u32> = const { Cell::new(0) };
    }

    fn sleeps_during(wait: impl FnOnce()) -> u32 {
        let before = SLEEPS.get();
        wait();
        SLEEPS.get() - before
    }

    /// Others take a hundred naps meanwhile, each as long as one of a sleeper that polls.
    fn be_idle() {
        (0..100).for_each(|_| thread::sleep(NAP));
    }

    #[test]
    fn a_wait_is_rounded_up_and_bounded() {
        let nanos = [0, 1, 1_000_000, 1_000_001].map(Duration::from_nanos).map(milliseconds);
        assert_eq!(nanos, [0, 1, 1, 2]);
        assert_eq!(milliseconds(Duration::MAX), i32::MAX as u32);
    }

    #[test]
    fn a_wake_leaves_the_last_error_alone() {
        let word = Futex::new();
        // SAFETY: it has no conditions.
        unsafe { SetLastError(37) };
        word.wake(1);
        word.wake(i32::MAX);
        sleep_briefly();
        // SAFETY: as above.
        assert_eq!(unsafe { GetLastError() }, 37);
    }

    #[test]
    fn a_word_that_differs_in_its_high_half_has_changed() {
        let word = Futex::new();
        word.value().store(1 << 32, Ordering::Relaxed);
        word.wait(0, None);
    }

    #[test]
    fn a_consumer_that_waits_is_not_woken_while_nothing_happens() {
        let (producer, mut consumer) = crate::bounded(1);
        consumer.bind();
        let ready = Barrier::new(2);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                ready.wait();
                sleeps_during(|| consumer.pop().unwrap())
            });
            ready.wait();
            be_idle();
            producer.push(()).unwrap();
            let sleeps = waiting.join().unwrap();
            // A few may have ended for no reason.
            assert!(sleeps <= 3, "went to sleep {sleeps} times");
        });
    }
}
