//! What the two ends of a queue share: its state, and what is done to all of it.
//!
//! The calls that never wait are in `never_waiting.rs`, the calls that wait in `waiting.rs`.

mod never_waiting;
#[cfg(feature = "std")]
mod waiting;

use crossbeam_utils::CachePadded;

use crate::domain::Members;
use crate::lanes::{Entry, Lanes, LanesConsumer};
use crate::lost::Lost;
use crate::ring::{Head, Ring, Slots, Tail};
use crate::sync::{AtomicU64, const_fn};

use crate::wait::{Parker, Waiters};

#[cfg(feature = "alloc")]
use crate::sync::Ordering;

/// The state of a queue with its ring in `S` and its bypass in `B`. In memory: a cache line that
/// producers write, one that the consumer writes, one that both mostly read, and one for what is
/// off the fast path.
#[repr(C)]
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Shared<S: Slots, B: Slots<Item = Entry<S::Item>>> {
    tail: CachePadded<Tail>,
    head: CachePadded<Head>,
    slots: S,
    pub(crate) parker: Parker,
    pub(crate) members: Members,
    producers: AtomicU64,
    rare: CachePadded<Rare<B>>,
}

/// What the fast path of a push does not touch.
struct Rare<B> {
    lost: Lost,
    bypass_tail: Tail,
    bypass_head: Head,
    bypass_slots: B,
    waiters: Waiters,
}

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Shared<S, B> {
    const_fn! {
        /// The capacity of `ring` must not be 0.
        pub(crate) fn new(ring: S, bypass: B) -> Self {
            Self {
                tail: CachePadded::new(Tail::new()),
                head: CachePadded::new(Head::new()),
                slots: ring,
                parker: Parker::new(),
                members: Members::new(),
                producers: AtomicU64::new(0),
                rare: CachePadded::new(Rare {
                    lost: Lost::new(),
                    bypass_tail: Tail::new(),
                    bypass_head: Head::new(),
                    bypass_slots: bypass,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    #[inline]
    pub(crate) fn lanes(&self) -> Lanes<'_, S, B> {
        let Rare { bypass_tail, bypass_head, bypass_slots, .. } = &*self.rare;
        Lanes {
            ring: Ring { tail: &self.tail, head: &self.head, slots: &self.slots },
            bypass: Ring { tail: bypass_tail, head: bypass_head, slots: bypass_slots },
        }
    }

    /// The queue as its consumer sees it.
    ///
    /// # Safety
    ///
    /// While the result lives there is no other consumer of the queue, and what earlier ones did
    /// happened before.
    #[inline]
    pub(crate) unsafe fn consumer(&self) -> SharedConsumer<'_, S, B> {
        SharedConsumer { shared: self }
    }
}

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    /// Counts a producer. Those that push into a static queue are not counted.
    #[cfg(feature = "alloc")]
    pub(crate) fn add_producer(&self) {
        self.producers.fetch_add(1, Ordering::Relaxed);
    }

    /// Closes the queue with the last producer.
    #[cfg(feature = "alloc")]
    pub(crate) fn remove_producer(&self) {
        // [last:P] AcqRel, with itself: the last producer closes after all that the others did.
        if self.producers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    /// Refuses pushes from now on, and wakes everybody.
    pub(crate) fn close(&self) {
        self.lanes().close();
        self.parker.notify();
        self.rare.waiters.notify_all();
    }

    /// Takes `close` back, for the next consumer.
    pub(crate) fn reopen(&self) {
        self.lanes().reopen();
    }
}

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Drop for Shared<S, B> {
    /// Drops what is left: items that were published after the consumer had gone.
    fn drop(&mut self) {
        // SAFETY: nobody else has the queue any more.
        unsafe { self.consumer() }.drop_remaining();
    }
}

/// A queue as its consumer sees it. There is one of a queue at a time.
///
/// It is one word, so that a pop on the fast path keeps it in a register.
pub(crate) struct SharedConsumer<'a, S: Slots, B: Slots<Item = Entry<S::Item>>> {
    shared: &'a Shared<S, B>,
}

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> SharedConsumer<'_, S, B> {
    #[inline]
    fn lanes(&mut self) -> LanesConsumer<'_, S, B> {
        // SAFETY: this is the consumer, which is borrowed while the result lives.
        unsafe { LanesConsumer::new(self.shared.lanes()) }
    }

    /// The same consumer, for as long as it is borrowed.
    #[inline]
    fn reborrow(&mut self) -> SharedConsumer<'_, S, B> {
        SharedConsumer { shared: self.shared }
    }
}

/// A queue for those who neither push nor pop, whatever its items are.
#[cfg(feature = "std")]
pub trait Control: Send + Sync {
    /// Refuses pushes from now on, and wakes everybody.
    fn close(&self);
    /// Wakes the consumer, to look whether there is news for it apart from items.
    fn notify_consumer(&self);
    fn len(&self) -> usize;
    /// Whether the calling thread must not wait for the consumer.
    fn must_not_wait(&self) -> bool;
    /// Whether the consumer is bound to the thread of this number.
    fn is_bound_to(&self, thread: usize) -> bool;
}

#[cfg(feature = "std")]
impl<R, S, B> Control for R
where
    R: core::ops::Deref<Target = Shared<S, B>> + Send + Sync,
    S: Slots,
    B: Slots<Item = Entry<S::Item>>,
{
    fn close(&self) {
        (**self).close();
    }

    fn notify_consumer(&self) {
        self.parker.notify();
    }

    fn len(&self) -> usize {
        self.lanes().len()
    }

    fn must_not_wait(&self) -> bool {
        self.members.must_not_wait()
    }

    fn is_bound_to(&self, thread: usize) -> bool {
        self.members.is_bound_to(thread)
    }
}
