//! Where the consumer sleeps.

use core::time::Duration;

use super::system::light_barrier;
use super::{Deadline, EventCount};
use crate::sync::{AtomicU64, Ordering, UnmodelledU64, const_fn, fence};

cfg_event_fd! {
    use std::io;
    use std::os::fd::OwnedFd;

    use super::event_fd::EventFd;
    use crate::threads::fork;
}

/// The consumer's eventcount, and its event descriptor.
#[derive(Debug)]
pub(crate) struct Parker {
    events: EventCount,
    event_fd: EventFd,
}

cfg_no_event_fd! {
    /// There is no descriptor.
    #[derive(Debug)]
    struct EventFd;

    impl EventFd {
        const fn new() -> Self {
            Self
        }

        fn make_readable(&self) {}
    }
}

impl Parker {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { events: EventCount::new(), event_fd: EventFd::new() }
        }
    }

    /// Announces that the consumer is about to sleep: what is pushed from here on wakes it. Returns
    /// the key to sleep on.
    pub(crate) fn prepare_wait(&self) -> u64 {
        self.events.prepare_wait()
    }

    /// As `prepare_wait`, after [`Linger::begin`]: what is pushed from here on wakes the consumer if
    /// that ends the linger.
    pub(crate) fn prepare_linger(&self) -> u64 {
        self.events.prepare_linger()
    }

    /// Says that the consumer is awake.
    pub(crate) fn cancel_wait(&self, key: u64) {
        self.events.cancel_wait(key);
    }

    /// Sleeps until notified or past the deadline; for a nap only, unless `may_sleep_unbounded`.
    pub(crate) fn wait(&self, key: u64, deadline: Deadline, may_sleep_unbounded: bool) {
        self.events.wait(key, deadline, may_sleep_unbounded);
    }

    /// Forgets whether the consumer sleeps, or was armed: it does not, and is not.
    pub(crate) fn reset(&self) {
        self.events.reset();
    }

    /// Wakes the consumer if it sleeps, after something was published or closed; if it lingers,
    /// only where that `ends_linger`. For signal handlers too.
    #[inline]
    pub(crate) fn notify(&self, ends_linger: impl Fn() -> bool) {
        light_barrier();
        self.events.notify(ends_linger, || self.event_fd.make_readable());
    }

    /// Wakes the consumer if it lingers, after the ring was seen full. For signal handlers too.
    #[inline]
    pub(crate) fn end_linger(&self) {
        self.events.end_linger(|| self.event_fd.make_readable());
    }

    /// Wakes the consumer if it lingers, for what was published before. For signal handlers too.
    pub(crate) fn end_linger_now(&self) {
        // [now:F] SeqCst; pairs with [sleep:F]
        fence(Ordering::SeqCst);
        self.end_linger();
    }
}

/// How long the consumer lingers, W10. Only the consumer writes it.
#[derive(Debug)]
pub(crate) struct Linger {
    /// In nanoseconds. 0 is not at all.
    time: UnmodelledU64,
    items: UnmodelledU64,
    /// The tail index that ends a linger.
    end: AtomicU64,
}

impl Linger {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                time: UnmodelledU64::new(0),
                items: UnmodelledU64::new(0),
                end: AtomicU64::new(0),
            }
        }
    }

    /// Sets for how long, and for how many items, at this head index.
    pub(crate) fn set(&self, time: Duration, items: u64, head: u64) {
        let nanos = time.as_nanos().try_into().unwrap_or(u64::MAX);
        self.time.store(nanos, Ordering::Relaxed);
        self.items.store(items, Ordering::Relaxed);
        self.end.store(head + items, Ordering::Relaxed);
    }

    /// How long to linger from now on, if at all: the head index was another one the last time.
    pub(crate) fn begin(&self, head: u64) -> Option<Duration> {
        let time = self.time.load(Ordering::Relaxed);
        let end = head + self.items.load(Ordering::Relaxed);
        if time == 0 || end == self.end.load(Ordering::Relaxed) {
            return None;
        }
        self.end.store(end, Ordering::Relaxed);
        Some(Duration::from_nanos(time))
    }

    /// Whether a linger ends: the tail index has come far enough, or has the bit that says that the
    /// queue is closed.
    pub(crate) fn has_ended(&self, tail_word: u64) -> bool {
        tail_word >= self.end.load(Ordering::Relaxed)
    }
}

cfg_event_fd! {
    impl Parker {
        /// Announces that the consumer waits for its event descriptor: what is pushed from here on
        /// makes the descriptor readable.
        pub(crate) fn arm(&self) -> u64 {
            self.event_fd.clear();
            self.events.prepare_descriptor()
        }

        pub(crate) fn has_event_fd(&self) -> bool {
            self.event_fd.is_there()
        }

        /// The event descriptor of this process, under a new number. Makes it if there is none.
        pub(crate) fn event_fd(&self) -> io::Result<OwnedFd> {
            fork::watch();
            loop {
                if !self.event_fd.is_there() {
                    self.event_fd.make()?;
                    // A push that finds an announcement sees what was stored before it. One that
                    // was made in the parent was before this.
                    self.reset();
                }
                if let Some(duplicate) = self.event_fd.duplicate() {
                    return duplicate;
                }
            }
        }
    }
}
