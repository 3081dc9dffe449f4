//! What the two ends of a queue share: its state, and what is done to all of it.
//!
//! The calls that never wait are in `never_waiting.rs`, the calls that wait in `waiting.rs`, and
//! what timeouts add to these in `timeouts.rs`.
//!
//! # Orderings
//!
//! | label | site | operation and ordering | pairs with | publishes | model that fails if weakened |
//! |---|---|---|---|---|---|
//! | [last:P] | dropping a producer | subtraction (of 0 for one that does not count), AcqRel | itself, [gone:C] | what the other producers have pushed; that the consumer has gone | `closed_tells_what_came_before` |
//! | [gone:C] | dropping the consumer | OR, AcqRel | [last:P] | what the consumer did | argued: under loom each pop ends in a fence |
//! | [looks:A] | asking for a look at late items | addition, AcqRel | itself, [looks:C] | what the asking producer has pushed | `an_item_that_holds_a_producer_is_dropped_once_while_the_consumer_goes` |
//! | [looks:C] | ending the look | exchange, AcqRel | [looks:A] | what was dropped | `an_item_that_holds_a_producer_is_dropped_once_while_the_consumer_goes` |
//!
//! The count of producers is Relaxed where it grows, as in `Arc`: a producer is cloned from another
//! one.

mod never_waiting;
#[cfg(feature = "std")]
mod timeouts;
#[cfg(feature = "std")]
mod waiting;

use crate::Counts;
use crate::domain::Members;
use crate::lanes::{Entry, Lanes, LanesConsumer};
use crate::lost::Lost;
use crate::node::Node;
use crate::ring::{Head, Ring, Slots, Tail};
use crate::sync::{AtomicU64, CachePadded, const_fn};

#[cfg(feature = "std")]
use crate::long_wait::LongWait;
#[cfg(feature = "std")]
use crate::wait::LastWaits;
use crate::wait::{Parker, Waiters};

#[cfg(feature = "alloc")]
use {crate::sync::Ordering, alloc::boxed::Box};

/// The bit of `Shared::producers` that says that the consumer of a queue on the heap has gone.
#[cfg(feature = "alloc")]
const CONSUMER_GONE: u64 = 1 << 63;

/// The state of a queue with its ring in `S` and its bypass in `B`. In memory: a cache line that
/// producers write, one that the consumer writes, two that both mostly read, one for what is off
/// the fast path, and two for how each side has waited last.
#[repr(C)]
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Shared<S: Slots, B: Slots<Item = Entry<S::Item>>> {
    pub(crate) node: Node,
    slots: S,
    pub(crate) parker: Parker,
    producers: AtomicU64,
    rare: CachePadded<Rare<B>>,
    #[cfg(feature = "std")]
    last_waits: LastWaits,
}

/// What the fast path of a push does not touch.
struct Rare<B> {
    lost: Lost,
    bypass_tail: Tail,
    bypass_head: Head,
    bypass_slots: B,
    waiters: Waiters,
    #[cfg(feature = "alloc")]
    name: Option<Box<str>>,
    /// After the consumer has gone: how often to look for late items, for the thread that does.
    #[cfg(feature = "alloc")]
    looks: AtomicU64,
}

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Shared<S, B> {
    const_fn! {
        /// The capacity of `ring` must not be 0.
        pub(crate) fn new(ring: S, bypass: B) -> Self {
            Self {
                node: Node::new(),
                slots: ring,
                parker: Parker::new(),
                producers: AtomicU64::new(0),
                rare: CachePadded::new(Rare {
                    lost: Lost::new(),
                    bypass_tail: Tail::new(),
                    bypass_head: Head::new(),
                    bypass_slots: bypass,
                    waiters: Waiters::new(),
                    #[cfg(feature = "alloc")]
                    name: None,
                    #[cfg(feature = "alloc")]
                    looks: AtomicU64::new(0),
                }),
                #[cfg(feature = "std")]
                last_waits: LastWaits::new(),
            }
        }
    }

    #[inline]
    pub(crate) fn lanes(&self) -> Lanes<'_, S, B> {
        let Rare { bypass_tail, bypass_head, bypass_slots, .. } = &*self.rare;
        Lanes {
            ring: Ring { tail: &self.node.tail, head: &self.node.head, slots: &self.slots },
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
    /// Counts a producer, if it counts. Those that push into a static queue do not.
    #[cfg(feature = "alloc")]
    pub(crate) fn add_producer(&self, counts: bool) {
        self.producers.fetch_add(counts.into(), Ordering::Relaxed);
    }

    /// Closes the queue with the last producer that counts; drops late items where the consumer has
    /// gone.
    #[cfg(feature = "alloc")]
    pub(crate) fn remove_producer(&self, counts: bool) {
        // [last:P] AcqRel, with itself: the last producer closes after all that the others did.
        // With [gone:C]: what the consumer did, if it has gone; otherwise what this one published.
        let before = self.producers.fetch_sub(counts.into(), Ordering::AcqRel);
        if before & CONSUMER_GONE != 0 {
            self.drop_late_items();
        } else if counts && before == 1 {
            self.close();
        }
    }

    /// Whether the consumer was dropped.
    #[cfg(feature = "alloc")]
    pub(crate) fn has_lost_consumer(&self) -> bool {
        self.producers.load(Ordering::Relaxed) & CONSUMER_GONE != 0
    }

    /// Leaves the queue, which is closed, without a consumer.
    #[cfg(feature = "alloc")]
    pub(crate) fn remove_consumer(&self) {
        // [gone:C] AcqRel, with [last:P]. No model fails without: under loom each pop ends in a
        // fence.
        self.producers.fetch_or(CONSUMER_GONE, Ordering::AcqRel);
        self.drop_late_items();
    }

    /// Drops the items that were published after the consumer had looked for the last time. Each
    /// may hold a producer of this queue, and would keep the queue and itself.
    ///
    /// The push itself must not drop them, as it may be in a signal handler. So the consumer looks
    /// once more, and then each producer that is dropped does: that comes after its own pushes. Of
    /// several, one looks at a time, again for each that has asked meanwhile.
    #[cfg(feature = "alloc")]
    #[cold]
    fn drop_late_items(&self) {
        let looks = &self.rare.looks;
        // [looks:A] AcqRel, with itself and [looks:C].
        if looks.fetch_add(1, Ordering::AcqRel) != 0 {
            return;
        }
        let mut asked = 1;
        // SAFETY: the consumer has gone, and the one who counts from 0 is in its place. What it
        // and earlier ones did happened before: [gone:C], [looks:C].
        unsafe { self.consumer() }.drop_remaining(|| {
            // [looks:C] AcqRel, with [looks:A]: what those published who have asked.
            match looks.compare_exchange(asked, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => true,
                Err(now) => {
                    asked = now;
                    false
                }
            }
        });
    }

    /// The name that it was built with.
    #[cfg(feature = "alloc")]
    pub(crate) fn name(&self) -> Option<&str> {
        self.rare.name.as_deref()
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn set_name(&mut self, name: Option<Box<str>>) {
        self.rare.name = name;
    }

    /// What a push waits for that waits since then.
    #[cfg(feature = "std")]
    fn long_wait(&self, since: std::time::Instant) -> LongWait<'_> {
        let members = &self.node.members;
        let is_bound = !members.is_bound_to(0);
        LongWait {
            queue: self.name(),
            is_bound,
            is_alive: if is_bound { members.has_living_thread() } else { None },
            len: self.lanes().len(),
            capacity: self.lanes().capacity(),
            since,
        }
    }

    /// See [`Producer::counts`](crate::Producer::counts).
    pub(crate) fn counts(&self) -> Counts {
        let (lost, unreported) = self.rare.lost.counts();
        Counts { lost, unreported, high_water: self.lanes().ring.high_water() as usize }
    }

    /// Refuses pushes from now on, and wakes everybody.
    pub(crate) fn close(&self) {
        self.node.members.closing(|| self.lanes().close());
        self.parker.notify();
        self.rare.waiters.notify_all();
    }

    /// As `close`, for pushers of a static queue, which may be open again by the time that this
    /// returns: B5.
    pub(crate) fn close_ring(&self) {
        self.node.members.closing(|| self.lanes().close_ring());
        self.parker.notify();
        self.rare.waiters.notify_all();
    }

    /// Takes `close` back, for the next consumer.
    pub(crate) fn reopen(&self) {
        self.lanes().reopen();
        self.node.members.renew();
    }

    /// After the consumer has freed slots: wakes a thread that waits for room.
    #[inline]
    fn room_was_made(&self) {
        if self.rare.waiters.are_registered() {
            notify_waiters(&self.rare.waiters, &self.node.members, &self.node.head);
        }
    }
}

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Drop for Shared<S, B> {
    /// Drops what is left: in a static queue, what was published after the consumer had gone.
    fn drop(&mut self) {
        // SAFETY: nobody else has the queue any more.
        unsafe { self.consumer() }.drop_remaining(|| true);
    }
}

/// Not a method: a pop on the fast path would compute the address of the whole queue for it.
#[cold]
#[inline(never)]
fn notify_waiters(waiters: &Waiters, members: &Members, head: &Head) {
    // G2: before somebody is woken.
    members.announce(head.index());
    waiters.notify();
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
    fn counts(&self) -> Counts;
    /// Whether the calling thread must not wait for the consumer.
    fn must_not_wait(&self) -> bool;
    fn node(&self) -> &Node;
    fn domain(&self) -> crate::Domain;
    /// Whether the consumer is bound to the thread of this number.
    fn is_bound_to(&self, thread: u64) -> bool;
}

#[cfg(feature = "std")]
impl<R, S, B> Control for R
where
    R: core::ops::Deref<Target = Shared<S, B>> + Send + Sync,
    S: Slots + 'static,
    B: Slots<Item = Entry<S::Item>> + 'static,
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

    fn counts(&self) -> Counts {
        (**self).counts()
    }

    fn must_not_wait(&self) -> bool {
        self.node.members.must_not_wait()
    }

    fn node(&self) -> &Node {
        &self.node
    }

    fn domain(&self) -> crate::Domain {
        self.node.members.domain()
    }

    fn is_bound_to(&self, thread: u64) -> bool {
        self.node.members.is_bound_to(thread)
    }
}
