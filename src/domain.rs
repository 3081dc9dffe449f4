//! Which threads must not wait for a consumer: its own, and those in its domain. (A push has two
//! more reasons not to wait: a cycle of waits, `cycles.rs`, and a consumer that stayed in the
//! parent of a fork, `fork.rs`.)
//!
//! The domain of a consumer is a list of thread numbers. The list only grows, so a handler on any
//! thread may walk it at any instruction. Places that were left are used again.
//!
//! What matters is mostly what a thread reads of its own binding and of its own guards, and program
//! order takes care of that: those accesses are Relaxed. The list and its places are published with
//! Release and read with Acquire. So is the number of the consumer's thread:
//!
//! | label | site | operation and ordering | pairs with | publishes | model that fails if weakened |
//! |---|---|---|---|---|---|
//! | [bind:R] | binding | store of the number, Release | [bound:A] | the process in which the thread was bound: without it, it would be taken for a thread of another process | `memory_model`: `a_thread_that_binds_is_in_this_process` |
//! | [bound:A] | asking where the thread is | load of the number, Acquire | [bind:R] | the same | the same |

use alloc::boxed::Box;
use core::fmt;
use core::iter;
use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

// Not those of `sync`: what is here orders nothing else, and is no part of loom's models.
use alloc::sync::Arc;

use crate::{fork, identity};

/// The threads for which waiting for the consumer would be waiting for themselves: the consumer's
/// thread, and the threads in its domain.
#[derive(Debug)]
pub(crate) struct Members {
    /// The token of the consumer's thread, I3, and its number. Both are 0 while it has none.
    token: AtomicUsize,
    consumer: AtomicUsize,
    /// The process in which the consumer's thread was bound, F1.
    process: AtomicU64,
    /// Null until the domain is asked for.
    domain: AtomicPtr<ThreadList>,
}

impl Members {
    pub(crate) const fn new() -> Self {
        Self {
            token: AtomicUsize::new(0),
            consumer: AtomicUsize::new(0),
            process: AtomicU64::new(0),
            domain: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Makes the calling thread the consumer's, and returns its number.
    #[cold]
    pub(crate) fn bind(&self) -> usize {
        identity::joining(|| {
            let number = identity::register();
            fork::watch();
            self.process.store(fork::process(), Ordering::Relaxed);
            self.token.store(identity::token(), Ordering::Relaxed);
            // [bind:R] Release; pairs with [bound:A]
            self.consumer.store(number, Ordering::Release);
            number
        })
    }

    /// Leaves the consumer without a thread.
    pub(crate) fn unbind(&self) {
        self.consumer.store(0, Ordering::Relaxed);
        self.token.store(0, Ordering::Relaxed);
    }

    /// Whether the calling thread is the consumer's. For signal handlers too.
    pub(crate) fn is_consumer(&self) -> bool {
        let number = identity::number();
        number != 0 && self.consumer.load(Ordering::Relaxed) == number
    }

    /// Whether the consumer is bound to a thread that is not in this process: F3. Asks the system
    /// for the process. For signal handlers too.
    pub(crate) fn consumer_is_gone(&self) -> bool {
        fork::is_gone(|| {
            // [bound:A] Acquire; pairs with [bind:R]
            let number = self.consumer.load(Ordering::Acquire);
            (number, self.process.load(Ordering::Relaxed))
        })
    }

    /// Whether the consumer is bound to the thread of this number.
    pub(crate) fn is_bound_to(&self, number: usize) -> bool {
        self.consumer.load(Ordering::Relaxed) == number
    }

    /// Whether it is worth asking for the number of the calling thread: `false` says that it is no
    /// member.
    #[inline]
    pub(crate) fn may_be_member(&self) -> bool {
        self.token.load(Ordering::Relaxed) == identity::token()
            || !self.domain.load(Ordering::Relaxed).is_null()
    }

    /// Whether the calling thread is the consumer's or in its domain. For signal handlers too.
    pub(crate) fn is_member(&self) -> bool {
        self.may_be_member() && self.contains(identity::number())
    }

    /// As [`is_member`](Self::is_member), but also right to the very end of a thread, I2, and while
    /// it becomes a member, I5. Not for signal handlers.
    pub(crate) fn must_not_wait(&self) -> bool {
        identity::is_joining() || self.contains(identity::own_number())
    }

    pub(crate) fn contains(&self, number: usize) -> bool {
        // SAFETY: null, or a list that is not freed before this.
        let domain = unsafe { self.domain.load(Ordering::Acquire).as_ref() };
        number != 0
            && (self.consumer.load(Ordering::Relaxed) == number
                || domain.is_some_and(|threads| threads.contains(number)))
    }

    /// The consumer's domain.
    pub(crate) fn domain(&self) -> Domain {
        let mut threads = self.domain.load(Ordering::Acquire);
        if threads.is_null() {
            let new = Arc::into_raw(Arc::<ThreadList>::default()).cast_mut();
            let old = ptr::null_mut();
            // There is one consumer, but an allocator hook of its thread may come here as well.
            threads =
                match self.domain.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => new,
                    Err(now) => {
                        // SAFETY: from `into_raw`, and nobody else has seen it.
                        drop(unsafe { Arc::from_raw(new) });
                        now
                    }
                };
        }
        // SAFETY: from `into_raw`, and this holds one count until it is dropped.
        unsafe { Arc::increment_strong_count(threads) };
        // SAFETY: the count is the one just added.
        Domain { threads: unsafe { Arc::from_raw(threads) } }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        let threads = *self.domain.get_mut();
        if !threads.is_null() {
            // SAFETY: from `into_raw`, and the count is this one's.
            drop(unsafe { Arc::from_raw(threads) });
        }
    }
}

/// A list that only grows.
#[derive(Default)]
struct ThreadList {
    first: AtomicPtr<Place>,
}

/// The place of one guard in a list: the number of its thread, or 0.
struct Place {
    thread: AtomicUsize,
    next: *const Place,
}

// SAFETY: places are atomic, but for `next`, which is written before the place is shared.
unsafe impl Send for ThreadList {}
// SAFETY: as for `Send`.
unsafe impl Sync for ThreadList {}

impl ThreadList {
    fn iter(&self) -> impl Iterator<Item = &Place> {
        let mut next = self.first.load(Ordering::Acquire).cast_const();
        iter::from_fn(move || {
            // SAFETY: null or a place, and places are freed only with the list.
            let place = unsafe { next.as_ref() }?;
            next = place.next;
            Some(place)
        })
    }

    fn contains(&self, number: usize) -> bool {
        self.iter().any(|place| place.thread.load(Ordering::Relaxed) == number)
    }

    /// Enters the thread of this number, in a place that was left or a new one.
    fn enter(&self, number: usize) -> &Place {
        let is_free = |place: &&Place| {
            place.thread.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if let Some(place) = self.iter().find(is_free) {
            return place;
        }
        let thread = AtomicUsize::new(number);
        let new = Box::into_raw(Box::new(Place { thread, next: ptr::null() }));
        let mut first = self.first.load(Ordering::Relaxed);
        loop {
            // SAFETY: nobody else sees it before it is in the list.
            unsafe { (*new).next = first };
            match self.first.compare_exchange_weak(first, new, Ordering::Release, Ordering::Relaxed)
            {
                // SAFETY: places are freed only with the list.
                Ok(_) => return unsafe { &*new },
                Err(now) => first = now,
            }
        }
    }
}

impl Drop for ThreadList {
    fn drop(&mut self) {
        let mut next = *self.first.get_mut();
        while !next.is_null() {
            // SAFETY: from `Box::into_raw`, and nobody else has the list any more.
            let place = unsafe { Box::from_raw(next) };
            next = place.next.cast_mut();
        }
    }
}

/// The threads that a consumer depends on. On them, [`push`](crate::Producer::push) never waits, as
/// on the consumer's thread.
///
/// If a consumer hands work to another thread and waits for it, that thread must not wait for the
/// consumer. Examples are a helper that compresses what the consumer writes, and a thread of a
/// client library that logs. Such a thread enters the domain for as long as the consumer may wait
/// for it. Its pushes into a full queue then use the bypass. If that is full, too, they return
/// [`WouldDeadlock`](crate::PushError::WouldDeadlock).
///
/// [`Consumer::domain`](crate::Consumer::domain) returns it. It may outlive its queue, and then
/// does nothing.
///
/// ```
/// use bywash::{Builder, PushError};
///
/// let (producer, mut consumer) = Builder::new(1).bypass(1).build();
/// consumer.bind();
/// let domain = consumer.domain();
/// std::thread::spawn(move || {
///     let _inside = domain.enter();
///     producer.push("in the ring").unwrap();
///     producer.push("in the bypass").unwrap();
///     assert_eq!(producer.push("no room"), Err(PushError::WouldDeadlock("no room")));
/// }).join().unwrap();
/// ```
#[derive(Clone)]
pub struct Domain {
    threads: Arc<ThreadList>,
}

impl Domain {
    /// Enters the domain with the calling thread, until the guard is dropped. Guards may be nested.
    ///
    /// Never waits. It may allocate, so do not call it in a signal handler. A guard that is
    /// forgotten leaves its thread, and no other, inside.
    ///
    /// # Panics
    ///
    /// If the system has no thread-specific key left, on the first use in a process.
    #[must_use = "the thread leaves the domain when the guard is dropped: give it a name"]
    pub fn enter(&self) -> DomainGuard {
        let place = identity::joining(|| self.threads.enter(identity::register()));
        DomainGuard { domain: self.clone(), place: ptr::from_ref(place), _not_send: PhantomData }
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").finish_non_exhaustive()
    }
}

/// Keeps its thread in a [`Domain`], until it is dropped.
///
/// It cannot be sent to another thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<bywash::DomainGuard>();
/// ```
#[must_use = "the thread leaves the domain when the guard is dropped: give it a name"]
pub struct DomainGuard {
    domain: Domain,
    place: *const Place,
    _not_send: PhantomData<*const ()>,
}

impl Drop for DomainGuard {
    fn drop(&mut self) {
        // SAFETY: a place in the list that `domain` keeps.
        let place = unsafe { &*self.place };
        place.thread.store(0, Ordering::Relaxed);
    }
}

impl fmt::Debug for DomainGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainGuard").field("domain", &self.domain).finish_non_exhaustive()
    }
}
