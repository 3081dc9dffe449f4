//! Where the consumer sleeps.

use super::system::light_barrier;
use super::{Deadline, EventCount};
use crate::sync::const_fn;

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

    /// Wakes the consumer if it sleeps, after something was published or closed. For signal
    /// handlers too.
    #[inline]
    pub(crate) fn notify(&self) {
        light_barrier();
        self.events.notify(|| self.event_fd.make_readable());
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
