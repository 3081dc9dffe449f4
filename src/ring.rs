//! ESSAY

use core::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, UnsafeCell, const_fn};

/// The bit of `tail` that says that nothing more may be claimed.
const CLOSED: u64 = 1 << 63;

/// The bit of a stamp that says that its item was taken ahead of an unpublished one.
const TAKEN: u64 = 1 << 63;

/// One place for an item, and the stamp that tells what is in it.
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Slot<T> {
    stamp: AtomicU64,
    item: UnsafeCell<MaybeUninit<T>>,
}

impl<T> Slot<T> {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { stamp: AtomicU64::new(0), item: UnsafeCell::new(MaybeUninit::uninit()) }
        }
    }
}

/// Where a ring keeps its slots.
///
/// # Safety
///
/// Two indices less than `capacity` apart have different slots, and an index always has the same.
pub unsafe trait Slots {
    /// What a slot holds.
    type Item;

    /// How many items there may be at a time.
    fn capacity(&self) -> u64;

    /// The slot of `index`.
    ///
    /// # Safety
    ///
    /// The capacity is not 0.
    unsafe fn slot(&self, index: u64) -> &Slot<Self::Item>;
}

/// Why nothing was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Every slot was in use when `tail` was this.
    Full {
        tail: u64,
    },
    Closed,
}

struct Tail {
    claims: AtomicU64,
    limit: AtomicU64,
}

struct Head {
    released: AtomicU64,
    ahead: AtomicU64,
}

/// A bounded multi-producer single-consumer ring.
pub(crate) struct Ring<S> {
    tail: CachePadded<Tail>,
    head: CachePadded<Head>,
    slots: S,
}

// SAFETY: R1 and R2: of all contexts that share a ring, one at a time touches an item, and hands it on
// with Release and Acquire. So items are sent between threads, and never shared.
unsafe impl<S: Slots<Item: Send>> Sync for Ring<S> {}
// SAFETY: a ring owns its items.
unsafe impl<S: Slots<Item: Send>> Send for Ring<S> {}

impl<S> Ring<S> {
    const_fn! {
        pub(crate) fn new(slots: S) -> Self {
            Self {
                tail: CachePadded::new(Tail { claims: AtomicU64::new(0), limit: AtomicU64::new(0) }),
                head: CachePadded::new(Head { released: AtomicU64::new(0), ahead: AtomicU64::new(0) }),
                slots,
            }
        }
    }
}

/// The producers' side: any context, at any instruction.
impl<S: Slots> Ring<S> {
    /// Claims the next index, and with it the right to publish there, once.
    #[inline]
    pub(crate) fn claim(&self) -> Result<u64, Refused> {
        let mut tail = self.tail.claims.load(Ordering::Relaxed);
        loop {
            // [claim:L] Acquire; pairs with [limit:S]
            if tail >= self.tail.limit.load(Ordering::Acquire) {
                self.raise_limit(tail)?;
            }
            // [claim:C] SeqCst; pairs with [sleep:T]. FREE => CLAIMED
            match self.tail.claims.compare_exchange_weak(tail, tail + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Ok(tail),
                Err(now) => tail = now,
            }
        }
    }

    /// Lets `tail` be claimed if the head has moved far enough since the limit was set.
    #[inline]
    fn raise_limit(&self, tail: u64) -> Result<(), Refused> {
        if tail & CLOSED != 0 {
            return Err(Refused::Closed);
        }
        // [limit:H] Acquire; pairs with [release:H]
        let limit = self.head.released.load(Ordering::Acquire) + self.slots.capacity();
        if tail >= limit {
            return Err(Refused::Full { tail });
        }
        // [limit:S] Release; pairs with [claim:L]
        self.tail.limit.store(limit, Ordering::Release);
        Ok(())
    }

    /// Puts `item` into the slot of `index`.
    ///
    /// # Safety
    ///
    /// `index` came from `claim`, and was not published before.
    #[inline]
    pub(crate) unsafe fn publish(&self, index: u64, item: S::Item) {
        // SAFETY: something was claimed, so the capacity is not 0.
        let slot = unsafe { self.slots.slot(index) };
        // SAFETY: R1: the slot is this context's until the stamp says otherwise.
        slot.item.with_mut(|place| unsafe { (*place).write(item) });
        // [publish:S] Release; pairs with [look:S]. CLAIMED => PUBLISHED
        slot.stamp.store(index + 1, Ordering::Release);
    }

    /// Lets nothing more be claimed.
    pub(crate) fn close(&self) {
        // [close:C] SeqCst; pairs with [sleep:T]
        self.tail.claims.fetch_or(CLOSED, Ordering::SeqCst);
    }

    /// Takes `close` back.
    pub(crate) fn reopen(&self) {
        self.tail.claims.fetch_and(!CLOSED, Ordering::Relaxed);
    }
}

/// Looking from anywhere: what was true at some moment of the call.
impl<S: Slots> Ring<S> {
    pub(crate) fn capacity(&self) -> u64 {
        self.slots.capacity()
    }

    /// How many indices were ever claimed.
    pub(crate) fn claimed(&self) -> u64 {
        self.tail.claims.load(Ordering::Relaxed) & !CLOSED
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tail.claims.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// How many slots are in use.
    pub(crate) fn len(&self) -> u64 {
        // The head first: read after the tail, it may have passed it.
        let head = self.head.released.load(Ordering::Acquire);
        self.claimed().saturating_sub(head).min(self.capacity())
    }

    /// Whether nothing is claimed that was not released.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.claimed() == self.head.released.load(Ordering::Relaxed)
    }

    /// Whether it is closed and empty, and so for good.
    pub(crate) fn is_finished(&self) -> bool {
        let tail = self.tail.claims.load(Ordering::Relaxed);
        tail == self.head.released.load(Ordering::Relaxed) | CLOSED
    }
}

/// The consumer's side.
impl<S: Slots> Ring<S> {
    #[inline]
    fn head(&self) -> u64 {
        self.head.released.load(Ordering::Relaxed)
    }

    /// The index at the head if an item is published there.
    ///
    /// # Safety
    ///
    /// The capacity is not 0.
    #[inline]
    pub(crate) unsafe fn front(&self) -> Option<u64> {
        let head = self.head();
        // SAFETY: the caller's.
        let slot = unsafe { self.slots.slot(head) };
        // [look:S] Acquire; pairs with [publish:S]
        (slot.stamp.load(Ordering::Acquire) == head + 1).then_some(head)
    }

    /// The first index at which an item is published and not taken.
    pub(crate) fn find(&self) -> Option<u64> {
        (self.head()..self.claimed()).find(|&index| {
            // SAFETY: something was claimed, so the capacity is not 0.
            let slot = unsafe { self.slots.slot(index) };
            // [look:S] Acquire; pairs with [publish:S]
            slot.stamp.load(Ordering::Acquire) == index + 1
        })
    }

    /// Looks at the item at `index` where it lies.
    ///
    /// # Safety
    ///
    /// The caller is the consumer, and `index` came from `front` or `find` and was not taken since.
    pub(crate) unsafe fn peek<R>(&self, index: u64, look: impl FnOnce(&S::Item) -> R) -> R {
        // SAFETY: something was claimed, so the capacity is not 0.
        let slot = unsafe { self.slots.slot(index) };
        // SAFETY: R2: a published item is the consumer's.
        slot.item.with(|place| look(unsafe { &*place.cast::<S::Item>() }))
    }

    /// Moves the item at `index` out and frees its slot, or marks it taken where an earlier one is still in use.
    ///
    /// # Safety
    ///
    /// As `peek`.
    #[inline]
    pub(crate) unsafe fn take(&self, index: u64) -> S::Item {
        // SAFETY: something was claimed, so the capacity is not 0.
        let slot = unsafe { self.slots.slot(index) };
        // SAFETY: R2: a published item is the consumer's; nobody looks at it again, R3.
        let item = slot.item.with(|place| unsafe { place.cast::<S::Item>().read() });
        if index == self.head() {
            self.release(index + 1);
        } else {
            // PUBLISHED => TAKEN
            slot.stamp.store((index + 1) | TAKEN, Ordering::Relaxed);
            let ahead = self.head.ahead.load(Ordering::Relaxed);
            self.head.ahead.store(ahead + 1, Ordering::Relaxed);
        }
        item
    }

    /// Frees the slots before `head`, and those from it on that are taken already.
    #[inline]
    fn release(&self, mut head: u64) {
        if self.head.ahead.load(Ordering::Relaxed) != 0 {
            head = self.skip_taken(head);
        }
        // [release:H] Release; pairs with [limit:H]. PUBLISHED, TAKEN => FREE
        self.head.released.store(head, Ordering::Release);
    }

    /// The first index from `head` on that was not taken ahead.
    #[cold]
    fn skip_taken(&self, mut head: u64) -> u64 {
        let mut ahead = self.head.ahead.load(Ordering::Relaxed);
        // SAFETY: something was taken, so the capacity is not 0.
        while ahead != 0 && unsafe { self.slots.slot(head) }.stamp.load(Ordering::Relaxed) == (head + 1) | TAKEN {
            head += 1;
            ahead -= 1;
        }
        self.head.ahead.store(ahead, Ordering::Relaxed);
        head
    }
}
