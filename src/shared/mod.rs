//! What the two ends of a queue share.
//!
//! Whatever decides (is there room, is it closed, must this thread not wait, when does it sleep)
//! needs neither an item nor its type. So the state of a queue is seen in two ways: as [`Core`] by
//! those who decide, and with its [`Places`] by those who put items in and take them out.
//!
//! | file | what | knows the items |
//! |---|---|---|
//! | `mod.rs` | the state; closing; what is counted | no |
//! | `reserve.rs` | how a push gets a place: ring, bypass, wait or refusal | no |
//! | `push.rs` | puts items into places | yes |
//! | `pop.rs` | takes items, in the order that `lanes.rs` says; waits for them | yes |
//! | `lost.rs` | how many items were refused and given up, and where | no |
//! | `owners.rs` | the last of either end closes, and drops what is left | yes |

mod lost;
#[cfg(feature = "alloc")]
mod owners;
mod pop;
mod push;
mod reserve;

use core::fmt;

use crate::Counts;
use crate::lanes::{Entry, Reader};
use crate::ring::{Head, Ring, Slots, Tail};
use crate::sleep::{Linger, Parker, Waiters};
use crate::sync::{AtomicU64, CachePadded, const_fn};
use crate::threads::members::Members;

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
#[cfg(feature = "std")]
use {crate::long_wait::LongWait, crate::sleep::LastWaits};

use lost::Lost;
pub(crate) use reserve::Refusal;

/// The state of a queue that keeps its items in `P`. In memory: a cache line that producers write,
/// one that the consumer writes, one for what is off the fast path, two for how each side has waited
/// last, and one that all mostly read.
#[repr(C)]
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Shared<P: ?Sized> {
    tail: CachePadded<Tail>,
    head: CachePadded<Head>,
    rare: CachePadded<Rare>,
    #[cfg(feature = "std")]
    last_waits: LastWaits,
    pub(crate) members: Members,
    pub(crate) parker: Parker,
    /// How many producers count; and whether the consumer was dropped.
    producers: AtomicU64,
    places: P,
}

/// What the fast paths do not touch.
struct Rare {
    lost: Lost,
    bypass_tail: Tail,
    bypass_head: Head,
    linger: Linger,
    waiters: Waiters,
    #[cfg(feature = "alloc")]
    name: Option<Box<str>>,
    /// After the consumer was dropped: how often to sweep late items, for the thread that does.
    #[cfg(feature = "alloc")]
    sweeps: AtomicU64,
}

/// Where the items of a queue are.
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Places<S, B> {
    ring: S,
    bypass: B,
}

/// How many places there are: all that a queue shows of them to those who do not know its items.
pub trait Capacities {
    fn of_ring(&self) -> u64;
    fn of_bypass(&self) -> u64;
}

impl<S: Slots, B: Slots> Capacities for Places<S, B> {
    fn of_ring(&self) -> u64 {
        self.ring.capacity()
    }

    fn of_bypass(&self) -> u64 {
        self.bypass.capacity()
    }
}

/// A queue without its items: enough to claim, close, wait and count.
pub(crate) type Core<'a> = Shared<dyn Capacities + 'a>;

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Shared<Places<S, B>> {
    const_fn! {
        /// The capacity of `ring` must not be 0.
        pub(crate) fn new(ring: S, bypass: B) -> Self {
            Self {
                tail: CachePadded::new(Tail::new()),
                head: CachePadded::new(Head::new()),
                rare: CachePadded::new(Rare {
                    lost: Lost::new(),
                    bypass_tail: Tail::new(),
                    bypass_head: Head::new(),
                    linger: Linger::new(),
                    waiters: Waiters::new(),
                    #[cfg(feature = "alloc")]
                    name: None,
                    #[cfg(feature = "alloc")]
                    sweeps: AtomicU64::new(0),
                }),
                #[cfg(feature = "std")]
                last_waits: LastWaits::new(),
                members: Members::new(),
                parker: Parker::new(),
                producers: AtomicU64::new(0),
                places: Places { ring, bypass },
            }
        }
    }

    pub(crate) fn core(&self) -> &Core<'_> {
        self
    }

    /// The ring and its slots.
    #[inline]
    pub(crate) fn ring(&self) -> Ring<'_, &S> {
        Ring { tail: &self.tail, head: &self.head, slots: &self.places.ring }
    }

    /// The bypass and its slots.
    #[inline]
    pub(crate) fn bypass(&self) -> Ring<'_, &B> {
        let Rare { bypass_tail, bypass_head, .. } = &*self.rare;
        Ring { tail: bypass_tail, head: bypass_head, slots: &self.places.bypass }
    }

    /// The queue as its consumer sees it.
    ///
    /// # Safety
    ///
    /// While the result lives there is no other consumer of the queue, and what earlier ones did
    /// happened before.
    #[inline]
    pub(crate) unsafe fn reader(&self) -> Reader<'_, S, B> {
        // SAFETY: the caller guarantees it.
        unsafe { Reader::new(self) }
    }

    /// After the consumer has freed slots: wakes a thread that waits for room.
    #[inline]
    pub(crate) fn room_was_made(&self) {
        if self.rare.waiters.are_registered() {
            notify_waiters(&self.rare.waiters, &self.members, &self.head);
        }
    }

    /// Before the consumer learns that nothing is left, W7.
    pub(crate) fn pass_wake_on(&self) {
        self.rare.waiters.notify_many(1);
    }
}

impl<P: ?Sized> Shared<P> {
    /// After something was published or closed: wakes the consumer, unless it may linger on.
    #[inline]
    pub(crate) fn notify_consumer(&self) {
        self.parker.notify(|| self.ends_linger());
    }

    /// Whether enough was claimed to end a linger, or the queue is closed, W10.
    fn ends_linger(&self) -> bool {
        self.rare.linger.has_ended(self.tail.word())
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

/// A queue that lives on, for those who neither push nor pop.
#[cfg(all(feature = "std", not(bywash_loom)))]
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub enum Handle {
    Heap(std::sync::Arc<Shared<dyn Capacities + Send + Sync>>),
    Static(&'static Shared<dyn Capacities + Send + Sync>),
}

#[cfg(all(feature = "std", not(bywash_loom)))]
impl core::ops::Deref for Handle {
    type Target = Core<'static>;

    fn deref(&self) -> &Core<'static> {
        let shared: &Shared<dyn Capacities + Send + Sync> = match self {
            Self::Heap(shared) => shared,
            Self::Static(shared) => shared,
        };
        shared
    }
}

impl Core<'_> {
    /// The ring, whose slots one does not see.
    fn lane(&self) -> Ring<'_, u64> {
        Ring { tail: &self.tail, head: &self.head, slots: self.places.of_ring() }
    }

    /// The bypass, whose slots one does not see.
    fn bypass_lane(&self) -> Ring<'_, u64> {
        let Rare { bypass_tail, bypass_head, .. } = &*self.rare;
        Ring { tail: bypass_tail, head: bypass_head, slots: self.places.of_bypass() }
    }

    /// Refuses pushes from now on, and wakes everybody.
    pub(crate) fn close(&self) {
        self.close_ring(false);
    }

    /// As `close`, also for the next consumer of a static queue, if there is none now.
    pub(crate) fn close_for_next(&self) {
        self.close_ring(true);
    }

    fn close_ring(&self, stays_closed: bool) {
        self.members.closing(|| self.lane().close(stays_closed));
        self.notify_consumer();
        self.rare.waiters.notify_all();
    }

    /// Takes `close` back, for the next consumer, but not `close_for_next`. The bypass first, B5.
    pub(crate) fn reopen(&self) {
        self.bypass_lane().reopen();
        self.lane().reopen();
        self.members.renew();
    }

    /// Before the consumer is given back: a `close_for_next` until now was meant for it, so the next
    /// one may reopen.
    pub(crate) fn let_reopen(&self) {
        self.lane().let_reopen();
    }

    /// See [`Consumer::linger`](crate::Consumer::linger).
    #[cfg(feature = "std")]
    pub(crate) fn linger(&self, time: core::time::Duration, items: usize) {
        let items = items.clamp(1, self.capacity());
        self.rare.linger.set(time, items as u64, self.head.index());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lane().is_closed()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.lane().capacity() as usize
    }

    pub(crate) fn len(&self) -> usize {
        self.lane().len() as usize
    }

    pub(crate) fn bypass_len(&self) -> usize {
        self.bypass_lane().len() as usize
    }

    /// How many items are in the queue.
    #[cfg(feature = "std")]
    pub(crate) fn len_of_both(&self) -> usize {
        self.len() + self.bypass_len()
    }

    /// Whether no slot is in use, of either lane.
    pub(crate) fn is_empty(&self) -> bool {
        self.lane().is_empty() && self.bypass_lane().is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lane().full_at().is_some()
    }

    /// How many items have left the ring. Those popped ahead of a stopped push do not count yet.
    #[cfg(feature = "std")]
    pub(crate) fn popped(&self) -> u64 {
        self.head.index()
    }

    /// How many items have gone through the bypass.
    pub(crate) fn bypassed(&self) -> u64 {
        self.bypass_lane().claimed()
    }

    /// See [`Producer::counts`](crate::Producer::counts).
    pub(crate) fn counts(&self) -> Counts {
        let (lost, unreported) = self.rare.lost.counts();
        Counts { lost, unreported, high_water: self.lane().high_water() as usize }
    }

    /// Counts an item as lost that was refused just now.
    pub(crate) fn count_lost(&self) {
        self.rare.lost.add(self.lane().claimed());
    }

    /// The name that it was built with.
    #[cfg(feature = "alloc")]
    pub(crate) fn name(&self) -> Option<&str> {
        self.rare.name.as_deref()
    }

    /// What a push waits for that waits since then.
    #[cfg(feature = "std")]
    fn long_wait(&self, since: std::time::Instant) -> LongWait<'_> {
        let is_bound = !self.members.is_bound_to(0);
        LongWait {
            queue: self.name(),
            is_bound,
            is_alive: if is_bound { self.members.has_living_thread() } else { None },
            len: self.len(),
            capacity: self.capacity(),
            since,
        }
    }

    /// What all ends of a queue show of it.
    pub(crate) fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let mut f = f.debug_struct(name);
        #[cfg(feature = "alloc")]
        if let Some(name) = self.name() {
            f.field("name", &name);
        }
        f.field("capacity", &self.capacity())
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
