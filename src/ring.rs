//! The ring: a bounded queue of many producers and one consumer, in which no context waits for
//! another.
//!
//! # Data
//!
//! ```text
//!  tail line (producers)         head line (consumer)           slots: at least as many as the capacity
//!  claims: next index to claim,  released: the first index      +-------+------+-------+------+---
//!          top bit CLOSED                  not yet free         | stamp | item | stamp | item | ...
//!  limit:  released + capacity,  ahead: how many were taken     +-------+------+-------+------+---
//!          as last seen                 from behind `released`
//!                                clear: up to where, all of them
//!                                quiet: whether to look there at all
//! ```
//!
//! Indices count pushes from 0 and never wrap: 2^63 pushes at one a nanosecond take 292 years.
//! (With 32-bit counters a producer that was stopped between reading `claims` and exchanging it
//! could, 2^31 pushes later, claim a slot in use. So targets without 64-bit atomics are refused,
//! rather than served almost right.) The slot of an index is always the same, and two indices less
//! than the capacity apart have different slots.
//!
//! # States of a slot, for the index `i`
//!
//! ```text
//!               claims: i => i+1         stamp = i+1            released > i
//!   FREE (lap n) ------------> CLAIMED ------------> PUBLISHED --------------> FREE (lap n+1)
//!                                                        |                          ^
//!                                      stamp = TAKEN|i+1 +--------> TAKEN ----------+ released > i
//! ```
//!
//! A slot is CLAIMED while `i < claims` and its stamp is still that of an earlier lap. The stamp is
//! written by the producer, to publish, and by the consumer only to take an item from behind one
//! that is CLAIMED. So in the usual case a slot's cache line crosses from producer to consumer and
//! back once a lap. A stamp says for which index it is, so nobody clears it.
//!
//! # Invariants
//!
//! * **R1** An index is claimed by one context, which owns the slot's item until it publishes:
//!   `claims` is only ever exchanged from `i` to `i+k`, which claims `k` of them, or has its top
//!   bit set and cleared.
//! * **R2** From PUBLISHED on the item is the consumer's.
//! * **R3** An item is moved out once: before anybody looks again, `released` has passed it or the
//!   stamp says TAKEN. Whoever drops the ring looks the same way.
//! * **R4** `released <= claims <= released + capacity`. A claim needs `claims < limit`, and `limit
//!   <= released + capacity`: it was computed from a `released` read earlier, and `released` only
//!   grows. (A claim within a smaller bound computes its own.) A stale `limit` is too small, never
//!   too large, and so may be raced for. So the slot of a claimed index is FREE, and the bound is
//!   exact.
//! * **R5** Indices agree with happens-before: if push A returned before push B began, then A
//!   claimed before B, and has the smaller index.
//!
//! Full and closed are told from the counters alone, by one comparison: CLOSED makes `claims`
//! larger than any limit. No slot is read to decide it, and `released` moves only when the slot is
//! empty. That is why a push that is nested in a pop need not wait for it.
//!
//! # Interrupted after each step: what does a nested push see?
//!
//! | interrupted | after | the nested push |
//! |---|---|---|
//! | push | reading `claims` | claims the same index; the outer exchange fails and tries again |
//! | | raising `limit` | claims below that limit, or raises it itself; an old limit written late is only too small |
//! | | claiming | claims the next index: it is popped, and the outer one is not yet |
//! | | writing the item | as after claiming |
//! | | publishing | as if the outer push had returned |
//! | pop | looking at stamps | claims where there is room |
//! | | moving the item out | the slot still counts as in use: in a full ring it is told `Full`, and takes the bypass |
//! | | releasing | as if the outer pop had returned |
//!
//! # Progress
//!
//! A push is lock-free: its exchange fails only because another push claimed. Then it lets a moment
//! pass, of some pause instructions, in which the other may claim more without a fight for the
//! line, and tries again. It never waits for a slot's state. A pop in the usual case is a bounded
//! number of steps; `quiet` is one word that says whether it is one: nothing beside the ring,
//! nothing taken from behind `released`. Behind a producer that was stopped in mid-push it looks
//! over the claimed slots until two looks agree; a look disagrees only if a push was published
//! meanwhile. It begins behind what is taken already, `clear`, so that popping past one stopped
//! producer costs the same for each item; past several, it walks over what was taken behind the
//! second. A stopped producer holds its own slot, and with it those behind it: their items are
//! popped, and they are free again when it has gone on and been popped.
//!
//! # Orderings
//!
//! The models are in `tests/loom.rs`; each named one fails when the ordering is weakened to
//! `Relaxed` or the fence is removed (`tests/weaken` does that).
//!
//! | label | site | ordering | pairs with | carries | model |
//! |---|---|---|---|---|---|
//! | [claim:L] | `limit` before a claim | load Acquire | [limit:S] | the consumer's moving the item out, from the producer that raised the limit | `a_limit_raised_by_another_is_good` |
//! | [claim:C] | the claim | exchange SeqCst | [sleep:F] | that something was claimed | see below |
//! | [limit:H] | `released` when raising the limit | load Acquire | [release:H] | the consumer's moving the item out | `a_slot_is_used_again` |
//! | [limit:S] | `limit` when raising it | store Release | [claim:L] | what [limit:H] brought | `a_limit_raised_by_another_is_good` |
//! | [publish:S] | the stamp, when publishing | store Release | [look:S] | the item, and whatever happened before its push | `two_pushes_and_a_pop_lose_nothing` |
//! | [look:S] | the stamp, when looking | load Acquire | [publish:S] | the same | `two_pushes_and_a_pop_lose_nothing`, `batches_lose_nothing_and_keep_order`, `order_holds_around_a_stopped_push_in_4` |
//! | [release:H] | `released`, when popping | store Release | [limit:H] | the consumer's moving the item out | `a_slot_is_used_again` |
//! | [close:C] | closing | exchange SeqCst | [closed:L], [sleep:F] | what came before closing | `closed_tells_what_came_before` |
//! | [closed:L] | telling that it is closed | load Acquire | [close:C] | the same | `closed_tells_what_came_before` |
//!
//! Two orderings are stronger than loom can tell, as it takes sequentially consistent accesses for
//! Acquire and Release and is given a fence instead: `[claim:C]` and `[wake:F]` are sequentially
//! consistent so that a push and the consumer that falls asleep cannot miss each other without a
//! fence in push. Of the fence `[sleep:F]` and these two accesses, all in one total order, either
//! the claim comes first, and the consumer sees it, or the announcement does, and the push sees
//! that.

use core::hint;
use core::iter;
use core::mem::MaybeUninit;
use core::ops::Range;

#[cfg(feature = "alloc")]
use alloc::{collections::VecDeque, vec::Vec};

use crate::sync::{AtomicU64, Ordering, UnsafeCell, const_fn};

/// The bit of `tail` that says that nothing more may be claimed.
const CLOSED: u64 = 1 << 63;

/// The bit of a stamp that says that its item was taken ahead of an unpublished one.
const TAKEN: u64 = 1 << 63;

/// What no `claims` ever is.
const RESTLESS: u64 = u64::MAX;

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

impl<T> Slot<T> {
    /// Moves the item out.
    ///
    /// # Safety
    ///
    /// The item is published, the caller is the consumer, and nobody moves it out again.
    #[inline]
    unsafe fn read(&self) -> T {
        // SAFETY: the caller's.
        self.item.with(|place| unsafe { place.cast::<T>().read() })
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

/// Lets another producer, which was faster, push some more while the line is with its core: a
/// microsecond or so.
#[cold]
fn give_way() {
    if !cfg!(loom) {
        (0..32).for_each(|_| hint::spin_loop());
    }
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

/// What producers write.
pub(crate) struct Tail {
    claims: AtomicU64,
    limit: AtomicU64,
}

/// What the consumer writes.
pub(crate) struct Head {
    released: AtomicU64,
    ahead: AtomicU64,
    clear: AtomicU64,
    /// What [`tail_word`](Ring::tail_word) of the bypass is while nothing is in it, or `RESTLESS`.
    quiet: AtomicU64,
}

impl Tail {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { claims: AtomicU64::new(0), limit: AtomicU64::new(0) }
        }
    }
}

impl Head {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                released: AtomicU64::new(0),
                ahead: AtomicU64::new(0),
                clear: AtomicU64::new(0),
                quiet: AtomicU64::new(0),
            }
        }
    }
}

// SAFETY: R1 and R2: of all contexts that share a slot, one at a time touches the item, and hands
// it on with Release and Acquire. So items are sent between threads, and never shared.
unsafe impl<T: Send> Sync for Slot<T> {}

/// A bounded multi-producer single-consumer ring, wherever its parts lie. The ends are best on
/// cache lines of their own.
pub(crate) struct Ring<'a, S> {
    pub(crate) tail: &'a Tail,
    pub(crate) head: &'a Head,
    pub(crate) slots: &'a S,
}

impl<S> Clone for Ring<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Ring<'_, S> {}

/// The producers' side: any context, at any instruction.
impl<S: Slots> Ring<'_, S> {
    /// Claims the next indices, `most` or as many as there is room for, and with each the right to
    /// publish there, once.
    #[inline]
    pub(crate) fn claim(self, most: u64) -> Result<Range<u64>, Refused> {
        // [tail:L] Acquire; pairs with [claim:C], [close:C]
        let mut tail = self.tail.claims.load(Ordering::Acquire);
        loop {
            // [claim:L] Acquire; pairs with [limit:S]
            let mut limit = self.tail.limit.load(Ordering::Acquire);
            if tail + most > limit {
                limit = self.raise_limit(tail)?;
            }
            // The compiler knows which for one.
            let end = if most == 1 { tail + 1 } else { limit.min(tail + most) };
            match self.exchange_tail(tail, end) {
                Ok(_) => return Ok(tail..end),
                Err(now) => tail = now,
            }
            give_way();
        }
    }

    /// Claims the indices from `tail` to `end`, or returns what the tail is instead.
    #[inline]
    fn exchange_tail(self, tail: u64, end: u64) -> Result<u64, u64> {
        // [claim:C] SeqCst; pairs with [sleep:F]. FREE => CLAIMED
        // [tail:F] Acquire where it fails; pairs with [claim:C]
        self.tail.claims.compare_exchange_weak(tail, end, Ordering::SeqCst, Ordering::Acquire)
    }

    /// Claims the next index, if fewer than `limit` are claimed and not released.
    pub(crate) fn claim_within(self, limit: u64) -> Result<u64, Refused> {
        // [tail:L] Acquire; pairs with [claim:C], [close:C]
        let mut tail = self.tail.claims.load(Ordering::Acquire);
        loop {
            if tail & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            // [limit:H] Acquire; pairs with [release:H]. Read after the tail, so it was as full as
            // it says.
            if tail >= self.head.released.load(Ordering::Acquire) + limit.min(self.slots.capacity())
            {
                return Err(Refused::Full { tail });
            }
            match self.exchange_tail(tail, tail + 1) {
                Ok(_) => return Ok(tail),
                Err(now) => tail = now,
            }
            give_way();
        }
    }

    /// Whether the item that was published at `index` has been moved out. For signal handlers too.
    #[cfg(feature = "std")]
    pub(crate) fn is_taken(self, index: u64) -> bool {
        // SAFETY: something was claimed, so the capacity is not 0.
        let slot = unsafe { self.slots.slot(index) };
        self.head.released.load(Ordering::Relaxed) > index
            || slot.stamp.load(Ordering::Relaxed) != index + 1
    }

    /// Lets indices up to the one returned be claimed, if the head has moved far enough since the
    /// limit was set.
    #[inline]
    fn raise_limit(self, tail: u64) -> Result<u64, Refused> {
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
        Ok(limit)
    }

    /// Puts `item` into the slot of `index`.
    ///
    /// # Safety
    ///
    /// `index` came from `claim`, and was not published before.
    #[inline]
    pub(crate) unsafe fn publish(self, index: u64, item: S::Item) {
        // SAFETY: something was claimed, so the capacity is not 0.
        let slot = unsafe { self.slots.slot(index) };
        // SAFETY: R1: the slot is this context's until the stamp says otherwise.
        slot.item.with_mut(|place| unsafe { (*place).write(item) });
        // [publish:S] Release; pairs with [look:S]. CLAIMED => PUBLISHED
        slot.stamp.store(index + 1, Ordering::Release);
    }

    /// Pushes the first of `items`, of which there are some, as many as fit, each as `wrap` makes
    /// it.
    #[cfg(feature = "alloc")]
    pub(crate) fn push_many<I>(
        self,
        items: &mut VecDeque<I>,
        wrap: impl Fn(I) -> S::Item,
    ) -> Result<(), Refused> {
        // At least one, so that a ring without slots says that it is full.
        let indices = self.claim(self.slots.capacity().min(items.len() as u64).max(1))?;
        let count = (indices.end - indices.start) as usize;
        for (index, item) in indices.zip(items.drain(..count)) {
            // SAFETY: just claimed.
            unsafe { self.publish(index, wrap(item)) };
        }
        Ok(())
    }

    /// Lets nothing more be claimed.
    pub(crate) fn close(self) {
        // [close:C] SeqCst; pairs with [sleep:F], [closed:L]
        self.tail.claims.fetch_or(CLOSED, Ordering::SeqCst);
    }

    /// Takes `close` back.
    pub(crate) fn reopen(self) {
        self.tail.claims.fetch_and(!CLOSED, Ordering::Relaxed);
    }
}

/// Looking from anywhere.
impl<S: Slots> Ring<'_, S> {
    pub(crate) fn capacity(self) -> u64 {
        self.slots.capacity()
    }

    /// How many indices were ever claimed.
    pub(crate) fn claimed(self) -> u64 {
        self.tail.claims.load(Ordering::Relaxed) & !CLOSED
    }

    /// `claims` as it is, if nothing is in the ring.
    pub(crate) fn tail_word_if_empty(self) -> Option<u64> {
        let tail = self.tail_word();
        (tail & !CLOSED == self.first()).then_some(tail)
    }

    /// `claims` as it is, closed or not.
    #[inline]
    pub(crate) fn tail_word(self) -> u64 {
        self.tail.claims.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(self) -> bool {
        // [closed:L] Acquire; pairs with [close:C]
        self.tail.claims.load(Ordering::Acquire) & CLOSED != 0
    }

    /// How many slots are in use, more or less: the two counters are read one after the other.
    pub(crate) fn len(self) -> u64 {
        // The head first: read after the tail, it may have passed it.
        let head = self.head.released.load(Ordering::Acquire);
        self.claimed().saturating_sub(head).min(self.capacity())
    }

    /// Whether nothing is claimed that was not released.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        // The head first: read after the tail, it may have come to where the tail was.
        let head = self.head.released.load(Ordering::Acquire);
        self.claimed() == head
    }

    /// Whether every slot is in use.
    pub(crate) fn is_full(self) -> bool {
        // The tail first: read after the head, it may have come to where the bound was not.
        // [tail:L] Acquire; pairs with [claim:C]
        let tail = self.tail.claims.load(Ordering::Acquire) & !CLOSED;
        tail.saturating_sub(self.head.released.load(Ordering::Acquire)) >= self.capacity()
    }

    /// Whether it is closed and empty, and so for good.
    pub(crate) fn is_finished(self) -> bool {
        // [closed:L] Acquire; pairs with [close:C]
        let tail = self.tail.claims.load(Ordering::Acquire);
        tail == self.head.released.load(Ordering::Relaxed) | CLOSED
    }
}

/// An index that is next, and its slot.
pub(crate) type Front<'a, T> = (u64, &'a Slot<T>);

/// The consumer's side.
impl<'a, S: Slots> Ring<'a, S> {
    #[inline]
    fn first(self) -> u64 {
        self.head.released.load(Ordering::Relaxed)
    }

    /// The first index and its slot, if an item is published there, and nothing is in the bypass
    /// whose tail word `beside` then reads, and nothing was taken ahead.
    ///
    /// # Safety
    ///
    /// The capacity is not 0.
    #[inline]
    pub(crate) unsafe fn front(self, beside: impl FnOnce() -> u64) -> Option<Front<'a, S::Item>> {
        let head = self.first();
        // SAFETY: the capacity is not 0.
        let slot = unsafe { self.slots.slot(head) };
        // [look:S] Acquire; pairs with [publish:S]
        (slot.stamp.load(Ordering::Acquire) == head + 1
            && beside() == self.head.quiet.load(Ordering::Relaxed))
        .then_some((head, slot))
    }

    /// Moves that item out, once and into the result of a pop, and frees its slot.
    ///
    /// # Safety
    ///
    /// The caller is the consumer, and what is given came from `front` and was not taken since.
    #[inline]
    pub(crate) unsafe fn take_front<E>(
        self,
        (index, slot): Front<'_, S::Item>,
    ) -> Result<S::Item, E> {
        // SAFETY: R2, and R3: released before anybody looks again.
        let item = Ok(unsafe { slot.read() });
        self.release(index + 1);
        item
    }

    /// As `front` and `take_front`, but the items that lie in a row there, `most` at most, which go
    /// to the end of `buffer`. Returns how many. All slots are freed at once.
    ///
    /// # Panics
    ///
    /// Where `buffer` becomes too large; nothing was taken then.
    ///
    /// # Safety
    ///
    /// The caller is the consumer, and the capacity is not 0.
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn take_run(
        self,
        most: u64,
        beside: impl FnOnce() -> u64,
        buffer: &mut Vec<S::Item>,
    ) -> usize {
        let head = self.first();
        let end = (head..head.saturating_add(most)).find(|&index| {
            // SAFETY: the capacity is not 0.
            let slot = unsafe { self.slots.slot(index) };
            // [look:S] Acquire; pairs with [publish:S]
            slot.stamp.load(Ordering::Acquire) != index + 1
        });
        let end = end.unwrap_or(head.saturating_add(most));
        if end == head || beside() != self.head.quiet.load(Ordering::Relaxed) {
            return 0;
        }
        let count = (end - head) as usize;
        buffer.reserve(count);
        for index in head..end {
            // SAFETY: the capacity is not 0.
            let slot = unsafe { self.slots.slot(index) };
            // SAFETY: R2, and R3: released before anybody looks again, as nothing here can panic:
            // there is room.
            buffer.push(unsafe { slot.read() });
        }
        self.release(end);
        count
    }

    /// Lets `front` go on while the tail word of the bypass is `beside`, at which nothing is in
    /// there; or not at all.
    pub(crate) fn settle(self, beside: Option<u64>) {
        let is_quiet = self.head.ahead.load(Ordering::Relaxed) == 0;
        let quiet = beside.filter(|_| is_quiet).unwrap_or(RESTLESS);
        self.head.quiet.store(quiet, Ordering::Relaxed);
    }

    /// The first index at which an item is published and not taken.
    pub(crate) fn find(self) -> Option<u64> {
        let (head, tail) = (self.first(), self.claimed());
        if head == tail {
            return None;
        }
        let clear = self.skip_taken(self.head.clear.load(Ordering::Relaxed).max(head + 1));
        self.head.clear.store(clear, Ordering::Relaxed);
        iter::once(head).chain(clear..tail).find(|&index| {
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
    /// The caller is the consumer, and `index` came from `find` and was not taken since.
    pub(crate) unsafe fn peek<R>(self, index: u64, look: impl FnOnce(&S::Item) -> R) -> R {
        // SAFETY: something was claimed, so the capacity is not 0.
        let slot = unsafe { self.slots.slot(index) };
        // SAFETY: R2: a published item is the consumer's.
        slot.item.with(|place| look(unsafe { &*place.cast::<S::Item>() }))
    }

    /// Moves the item at `index` out and frees its slot, or marks it taken where an earlier one is
    /// still in use.
    ///
    /// # Safety
    ///
    /// As `peek`.
    pub(crate) unsafe fn take(self, index: u64) -> S::Item {
        // SAFETY: something was claimed, so the capacity is not 0.
        let slot = unsafe { self.slots.slot(index) };
        // SAFETY: R2, and R3: released or marked before anybody looks again.
        let item = unsafe { slot.read() };
        if index == self.first() {
            self.release(self.release_taken(index + 1));
        } else {
            // PUBLISHED => TAKEN
            slot.stamp.store((index + 1) | TAKEN, Ordering::Relaxed);
            let ahead = self.head.ahead.load(Ordering::Relaxed);
            self.head.ahead.store(ahead + 1, Ordering::Relaxed);
        }
        item
    }

    /// Frees the slots before `head`.
    #[inline]
    fn release(self, head: u64) {
        // [release:H] Release; pairs with [limit:H]. PUBLISHED, TAKEN => FREE
        self.head.released.store(head, Ordering::Release);
    }

    /// The first index from `head` on that was not taken; those before it are ahead no longer.
    fn release_taken(self, head: u64) -> u64 {
        let ahead = self.head.ahead.load(Ordering::Relaxed);
        let end = if ahead == 0 { head } else { self.skip_taken(head) };
        self.head.ahead.store(ahead - (end - head), Ordering::Relaxed);
        end
    }

    /// The first index from `index` on that was not taken. A lap at most: the stamp says for which
    /// index it is.
    fn skip_taken(self, mut index: u64) -> u64 {
        // SAFETY: something was claimed, so the capacity is not 0.
        while unsafe { self.slots.slot(index) }.stamp.load(Ordering::Relaxed) == (index + 1) | TAKEN
        {
            index += 1;
        }
        index
    }
}
