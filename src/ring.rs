//! The ring: a bounded queue of many producers and one consumer, in which no call waits for
//! another.
//!
//! It is related to Dmitry Vyukov's bounded queue: a slot carries a stamp that says for which index
//! it is published. Two things differ. Full and empty are decided by the two indices alone, so a
//! call never waits for the state of a slot. And the consumer may pop past a slot that is claimed
//! but not published. (Readers of Linux's `printk_ringbuffer`, whose records have states, too, stop
//! there.)
//!
//! # Data
//!
//! ```text
//!  tail line (producers)           head line (consumer)              slots: `capacity` or more
//!  tail:  the next index to claim; head: the first index whose       +-------+------+-------+---
//!         top bits CLOSED and            slot is not free            | stamp | item | stamp | ...
//!         STAYS_CLOSED             polled_at: the head at the last   +-------+------+-------+---
//!  limit: head + capacity,               poll off the fast path
//!         as last seen             cursor, the consumer's own:
//!                                    taken_ahead: how many items were taken above `head`
//!                                    scan_start: each item above `head` and below this is taken
//!                                    bypass_tail_when_empty: whether a pop may take the fast path
//! ```
//!
//! Indices count pushes from 0 and never wrap: 2^62 pushes, one each nanosecond, take 146 years.
//! 32-bit indices would wrap: a producer that was stopped between reading the tail and exchanging
//! it could continue 2^31 pushes later and claim a slot that is in use. So the crate does not
//! compile for targets without 64-bit atomics. An index always has the same slot, and two indices
//! that differ by less than the capacity have different slots.
//!
//! # States of a slot, for the index `i`
//!
//! ```text
//!               tail: i => i+1          stamp = i+1              head > i
//!   FREE (lap n) ------------> CLAIMED ------------> PUBLISHED ----------> FREE (lap n+1)
//!                                                        |                     ^
//!                                      stamp = TAKEN|i+1 +-------> TAKEN ------+ head > i
//! ```
//!
//! After a fork, or after a thread was ended in the middle of a push, the consumer may also turn
//! CLAIMED into TAKEN (R7).
//!
//! A slot is CLAIMED while `i < tail` and its stamp is still that of an earlier lap. The producer
//! writes the stamp to publish the item. The consumer writes it only to take an item ahead of one
//! that is CLAIMED. So the cache line of a slot usually crosses from producer to consumer and back
//! once a lap. A stamp says for which index it is, so nobody has to clear it. Zeroed memory is an
//! empty ring.
//!
//! # Invariants
//!
//! * **R1** One call claims an index, and owns the slot's item until it publishes. The tail only
//!   ever changes from `i` to `i+k`, which claims `k` indices, or in its two top bits.
//! * **R2** From PUBLISHED on, the item is the consumer's.
//! * **R3** An item is moved out once: before the consumer looks for the next item, the head has
//!   passed it, or its stamp says TAKEN.
//! * **R4** `head <= tail <= head + capacity`. A claim needs `tail < limit`, and `limit <= head +
//!   capacity`: the limit was computed from a head that was read earlier, and the head only grows.
//!   (A claim within a smaller bound computes its own limit.) A stale limit is too small and never
//!   too large, so producers may race to write it. So the slot of a claimed index is FREE, and the
//!   bound is exact.
//! * **R5** Indices agree with happens-before: if push A returned before push B began, then A has
//!   the smaller index.
//! * **R6** A push returns `Full` only if the ring was full: it compares a tail with a head that is
//!   at least as new. It reads the tail first, with Acquire. If it reads the tail that a claim
//!   wrote, it sees the head that this claim saw, or a later one. Without Acquire, a weakly ordered
//!   machine may read an old head and a new tail, and a ring that was never full looks full.
//! * **R7** *Giving up.* If a thread will never publish its claim, the consumer gives the claim up:
//!   it marks the slot TAKEN. The head passes that slot, as it passes every item that was taken
//!   ahead, and the slot is FREE in the next lap. A pop may have been stopped anywhere, so the
//!   consumer's counters are computed anew from the stamps: `taken_ahead` is the number of marked
//!   slots. If the stopped pop had read an item, but had neither moved the head nor marked the
//!   slot, the item is popped again, because it was never handed out. The caller guarantees that
//!   nothing else runs at the same time.
//!
//! STAYS_CLOSED, which is never set without CLOSED, keeps a static queue closed for its next
//! consumer: a pusher has closed it while there was none. The consumer clears it when it is given
//! back.
//!
//! One comparison detects both full and closed, because CLOSED makes the tail larger than any
//! limit. It reads no slot, and the head moves only when a slot is empty. That is why a push on top
//! of an interrupted pop need not wait for that pop.
//!
//! # Interrupted after each step: what does a nested push see?
//!
//! | interrupted | after | the nested push |
//! |---|---|---|
//! | push | reading the tail | claims the same index; the outer exchange fails and tries again |
//! | | raising `limit` | claims below that limit or raises it; an old limit written late is too small |
//! | | claiming | claims the next index; its item is popped while the outer one is not published |
//! | | writing the item | as after claiming |
//! | | publishing | as if the outer push had returned |
//! | pop | reading stamps | claims where there is room |
//! | | moving the item out | the slot is still in use: a full ring is `Full`, and the bypass is taken |
//! | | moving the head | as if the outer pop had returned |
//!
//! # Progress
//!
//! A push is lock-free: its exchange fails only because another push claimed. It then pauses for a
//! moment, so that the other producer can claim more without contention for the cache line, and
//! tries again. It never waits for the state of a slot.
//!
//! A pop on the fast path takes a bounded number of steps. One word, `bypass_tail_when_empty`, says
//! whether a pop may take the fast path: it may if the bypass is empty and nothing was taken ahead.
//! Off the fast path, the pop scans the claimed slots until two scans agree. Two scans disagree
//! only if a push was published between them. A scan begins at `scan_start`, so popping past one
//! stopped producer costs the same for each item. With several stopped producers, a scan also walks
//! over the items that were taken behind the second.
//!
//! A poll that has come close behind the producers pauses before that: several items were popped
//! since the last poll off the fast path, and the item at the head is not ready, mostly because it
//! is not published yet. To look at once, and at the slots behind it, would fetch the cache lines
//! that producers are writing, and delay them. After the pause, a few spin hints, the poll mostly
//! finds several items. While the head stays where it is, there is no further pause.
//!
//! A stopped producer keeps its own slot and those behind it in use. The consumer pops the items
//! behind it. The slots become free once the producer has continued and its own item was popped.
//!
//! # Orderings
//!
//! The models are in `tests/loom.rs`. `tests/weaken` weakens each ordering to `Relaxed` and shows
//! that its model fails.
//!
//! | label | site | operation and ordering | pairs with | publishes | model that fails if weakened |
//! |---|---|---|---|---|---|
//! | [tail:L] | `claim`, `claim_within`, `full_at` | load of the tail, Acquire | [claim:C], [close:C] | the head that the claimer saw (R6); what came before closing | `a_push_is_refused_by_a_full_ring_only`, `a_push_within_a_limit_is_refused_at_the_limit_only`, `full_is_true`; `memory_model`: `full_is_true` |
//! | [tail:F] | a claim that fails | failed exchange of the tail, Acquire | [claim:C], [close:C] | the same | `a_push_is_refused_by_a_full_ring_only` |
//! | [claim:L] | before a claim | load of `limit`, Acquire | [limit:S] | that the slot is empty, by way of the producer that raised the limit | `a_limit_raised_by_another_is_good` |
//! | [claim:C] | the claim | exchange of the tail, SeqCst | [tail:L], [tail:F]; [sleep:F] | the head that the claimer saw; that something was claimed | `memory_model`: `a_push_wakes_a_pop` (under loom the light barriers are fences, and stand in for it) |
//! | [limit:H] | raising the limit, `claim_within` | load of the head, Acquire | [head:S] | that the slot is empty | `a_slot_is_used_again`, `a_slot_is_used_again_within_a_limit` |
//! | [limit:S] | raising the limit | store of `limit`, Release | [claim:L] | what [limit:H] brought | `a_limit_raised_by_another_is_good` |
//! | [publish:S] | publishing | store of the stamp, Release | [stamp:L] | the item, and what happened before its push | `two_pushes_and_a_pop_lose_nothing` |
//! | [stamp:L] | looking for an item | load of the stamp, Acquire | [publish:S] | the same | `two_pushes_and_a_pop_lose_nothing`, `batches_lose_nothing_and_keep_order`, `order_holds_around_a_stopped_push_in_4` |
//! | [head:S] | popping | store of the head, Release | [limit:H], [empty:H] | that the slot is empty | `a_slot_is_used_again` |
//! | [empty:H] | `is_empty`, `len` | load of the head, Acquire, before the tail | [head:S] | the claim of what was popped | `empty_is_true` |
//! | [close:C] | closing | OR into the tail, SeqCst | [closed:L], [tail:L], [reopen:A]; [sleep:F] | what came before closing | `closed_tells_what_came_before`; `memory_model`: `closing_wakes_a_pop` |
//! | [closed:L] | `is_closed`, `is_finished` | load of the tail, Acquire | [close:C] | the same | `closed_tells_what_came_before` |
//! | [reopen:A] | `reopen` | exchange of the tail, Acquire | [close:C] | the number that the one who closed had read of the queue | `memory_model`: `an_open_queue_is_not_noted_as_closed` |
//!
//! `[claim:C]` is sequentially consistent for W1 in `sleep/mod.rs`: a push and a consumer that
//! falls asleep cannot miss each other. Loom treats such accesses as Acquire and Release, so
//! `tests/memory_model/` shows that it may not be weaker. (On ARMv8, the publication would keep
//! even a weaker claim ordered before `[notify:L]`, but Rust does not promise that.)
//!
//! Relaxed is enough for the rest:
//!
//! * `head` as the consumer reads it, and the mark TAKEN: only the consumer writes and reads them,
//!   and moving the consumer to another thread establishes happens-before. The cursor is not even
//!   atomic, for the same reason; loom would report two consumers as a data race.
//! * The tail that the consumer reads to bound a scan (`claimed`): a push that returned before the
//!   pop began is visible by happens-before, and the scan need not find any other. The same goes
//!   for the two tails of a poll (`is_plainly_empty`).
//! * The tail of the bypass on the fast path (`tail_word`): see B3 in `lanes.rs`. The stamp was
//!   read before it with Acquire, so each push into the bypass that returned before the push of
//!   that stamp began is visible. `tail_word_if_empty` compares it with a head that is the
//!   consumer's own.
//! * `let_reopen`: an exchange of the tail breaks no release sequence, and the next consumer comes
//!   after it, as it claims what was given back.
//! * `is_taken`: no data is read because of its answer. Once a slot holds the stamp of `index`, it
//!   only ever gets TAKEN or the stamp of a later lap, and the head only grows. So the answer
//!   `true` is always correct.

use core::hint;
use core::iter;
use core::mem::MaybeUninit;
use core::ops::Range;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use crate::sync::{AtomicU64, IS_ONE_CORE, Ordering, UnsafeCell, const_fn};

/// The bit of the tail that says that nothing more may be claimed.
const CLOSED: u64 = 1 << 63;

/// The bit of the tail that says that the next consumer of a static queue finds it closed.
const STAYS_CLOSED: u64 = 1 << 62;

const FLAGS: u64 = CLOSED | STAYS_CLOSED;

/// The bit of a stamp that says that its item was taken ahead of an unpublished one.
const TAKEN: u64 = 1 << 63;

/// In place of a tail of the bypass; no tail ever has this value.
const FAST_PATH_OFF: u64 = u64::MAX;

/// A place for an item, and the stamp that says what is in it.
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Slot<T> {
    stamp: AtomicU64,
    item: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: R1 and R2: of all threads that share a slot, one at a time accesses the item, and hands
// it on with Release and Acquire. So an item is sent between threads, and never shared.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { stamp: AtomicU64::new(0), item: UnsafeCell::new(MaybeUninit::uninit()) }
        }
    }

    /// Whether the item of `index` is in it, published and not taken.
    #[inline]
    fn has_item_of(&self, index: u64) -> bool {
        // [stamp:L] Acquire; pairs with [publish:S]
        self.stamp.load(Ordering::Acquire) == index + 1
    }

    /// Moves the item out.
    ///
    /// # Safety
    ///
    /// The item is published, the caller is the consumer, and moves it out once.
    #[inline]
    unsafe fn read(&self) -> T {
        // SAFETY: R2; the caller guarantees the rest.
        self.item.with(|item| unsafe { item.cast::<T>().read() })
    }
}

/// Where a ring keeps its slots.
///
/// # Safety
///
/// Two indices less than `capacity` apart have different slots, and an index always has the same
/// slot.
pub unsafe trait Slots {
    /// What a slot holds.
    type Item;

    /// How many items there may be at a time.
    fn capacity(&self) -> u64;

    /// The slot of `index`. With a capacity of 0 nobody asks.
    fn slot(&self, index: u64) -> &Slot<Self::Item>;
}

/// How many items there may be in a ring at a time: all that a claim has to know of the slots.
pub(crate) trait Capacity: Copy {
    fn capacity(self) -> u64;
}

impl Capacity for u64 {
    fn capacity(self) -> u64 {
        self
    }
}

impl<S: Slots> Capacity for &S {
    #[inline]
    fn capacity(self) -> u64 {
        Slots::capacity(self)
    }
}

/// Pauses while another producer, which won the cache line, pushes some more: about a microsecond.
#[cold]
fn back_off() {
    if !cfg!(bywash_loom) && !IS_ONE_CORE {
        (0..32).for_each(|_| hint::spin_loop());
    }
}

/// Why nothing was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotClaimed {
    /// Every slot was in use when the tail index was this.
    Full {
        tail: u64,
    },
    Closed,
}

/// What producers write.
pub(crate) struct Tail {
    index: AtomicU64,
    limit: AtomicU64,
}

impl Tail {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { index: AtomicU64::new(0), limit: AtomicU64::new(0) }
        }
    }

    /// The tail index, and in its top bits whether the ring is closed.
    #[inline]
    pub(crate) fn word(&self) -> u64 {
        self.index.load(Ordering::Relaxed)
    }
}

/// What the consumer writes.
pub(crate) struct Head {
    index: AtomicU64,
    cursor: UnsafeCell<Cursor>,
    /// The head index when the next item was not ready the last time.
    polled_at: AtomicU64,
    high_water: AtomicU64,
}

/// What the consumer alone reads and writes.
struct Cursor {
    /// How many items were taken above the head.
    taken_ahead: u64,
    /// Each item above the head and below this index is taken.
    scan_start: u64,
    /// The tail word of the bypass at which a pop may take the fast path.
    bypass_tail_when_empty: u64,
}

// SAFETY: the cursor is the consumer's, of which there is one at a time: `RingConsumer::new`.
unsafe impl Sync for Head {}

impl Head {
    const_fn! {
        pub(crate) fn new() -> Self {
            let cursor = Cursor { taken_ahead: 0, scan_start: 0, bypass_tail_when_empty: 0 };
            Self {
                index: AtomicU64::new(0),
                cursor: UnsafeCell::new(cursor),
                polled_at: AtomicU64::new(0),
                high_water: AtomicU64::new(0),
            }
        }
    }

    #[inline]
    pub(crate) fn index(&self) -> u64 {
        // [limit:H], [empty:H] Acquire; pairs with [head:S]
        self.index.load(Ordering::Acquire)
    }

    /// How many slots were in use at once, at most, at this tail index. From one poll to the next
    /// these are no more than lie between the head of the first and the tail of the second.
    fn high_water(&self, tail: u64) -> u64 {
        let since_poll = tail.saturating_sub(self.polled_at.load(Ordering::Relaxed));
        since_poll.max(self.high_water.load(Ordering::Relaxed))
    }
}

/// A ring: its two indices, and its slots in `S`, or what a claim has to know of them. Its parts
/// may lie anywhere; tail and head are best on cache lines of their own.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a, S> {
    pub(crate) tail: &'a Tail,
    pub(crate) head: &'a Head,
    pub(crate) slots: S,
}

/// For producers: any thread, at any instruction. What is claimed and not published stays claimed:
/// the consumer pops past it, and its slot is not used again.
impl<S: Capacity> Ring<'_, S> {
    /// Claims the next indices, `most` or as many as there is room for.
    #[inline]
    pub(crate) fn claim(self, most: u64) -> Result<Range<u64>, NotClaimed> {
        // [tail:L] Acquire; pairs with [claim:C], [close:C]
        let mut tail = self.tail.index.load(Ordering::Acquire);
        loop {
            // [claim:L] Acquire; pairs with [limit:S]
            let mut limit = self.tail.limit.load(Ordering::Acquire);
            if tail + most > limit {
                limit = self.raise_limit(tail)?;
            }
            // Spelled out, as the compiler does not know that there is room for one.
            let end = if most == 1 { tail + 1 } else { limit.min(tail + most) };
            match self.exchange_tail(tail, end) {
                Ok(_) => return Ok(tail..end),
                Err(now) => tail = now,
            }
            back_off();
        }
    }

    /// Claims the next index if fewer than `limit` slots are in use.
    pub(crate) fn claim_within(self, limit: u64) -> Result<Range<u64>, NotClaimed> {
        // [tail:L] Acquire; pairs with [claim:C], [close:C]
        let mut tail = self.tail.index.load(Ordering::Acquire);
        loop {
            if tail & CLOSED != 0 {
                return Err(NotClaimed::Closed);
            }
            // [limit:H]
            let head = self.head.index();
            if tail >= head + limit.min(self.slots.capacity()) {
                return Err(NotClaimed::Full { tail });
            }
            match self.exchange_tail(tail, tail + 1) {
                Ok(_) => return Ok(tail..tail + 1),
                Err(now) => tail = now,
            }
            back_off();
        }
    }

    /// Claims the indices from `tail` to `end`, or returns what the tail is instead.
    #[inline]
    fn exchange_tail(self, tail: u64, end: u64) -> Result<u64, u64> {
        // [claim:C] SeqCst; pairs with [tail:L], [tail:F], [sleep:F]. FREE => CLAIMED
        // [tail:F] Acquire where it fails; pairs with [claim:C], [close:C]
        self.tail.index.compare_exchange(tail, end, Ordering::SeqCst, Ordering::Acquire)
    }

    /// Computes the limit anew, and returns it, if the head has moved far enough for `tail`.
    #[inline]
    fn raise_limit(self, tail: u64) -> Result<u64, NotClaimed> {
        if tail & CLOSED != 0 {
            return Err(NotClaimed::Closed);
        }
        // [limit:H]
        let limit = self.head.index() + self.slots.capacity();
        if tail >= limit {
            return Err(NotClaimed::Full { tail });
        }
        // [limit:S] Release; pairs with [claim:L]
        self.tail.limit.store(limit, Ordering::Release);
        Ok(limit)
    }

    /// Refuses every claim from now on. With `stays_closed`, the next consumer may not reopen it.
    pub(crate) fn close(self, stays_closed: bool) {
        let flags = if stays_closed { FLAGS } else { CLOSED };
        // [close:C] SeqCst; pairs with [closed:L], [tail:L], [reopen:A], [sleep:F]
        self.tail.index.fetch_or(flags, Ordering::SeqCst);
    }

    /// Takes `close` back, unless it stays closed.
    pub(crate) fn reopen(self) {
        let mut tail = self.tail_word();
        while tail & FLAGS == CLOSED {
            // [reopen:A] Acquire; pairs with [close:C]
            let (open, success, failure) = (tail & !CLOSED, Ordering::Acquire, Ordering::Relaxed);
            match self.tail.index.compare_exchange(tail, open, success, failure) {
                Ok(_) => return,
                Err(now) => tail = now,
            }
        }
    }

    /// From now on, the next consumer opens it.
    pub(crate) fn let_reopen(self) {
        self.tail.index.fetch_and(!STAYS_CLOSED, Ordering::Relaxed);
    }
}

/// For onlookers, signal handlers included.
impl<S: Capacity> Ring<'_, S> {
    pub(crate) fn capacity(self) -> u64 {
        self.slots.capacity()
    }

    /// The tail index: how many indices were ever claimed.
    pub(crate) fn claimed(self) -> u64 {
        self.tail_word() & !FLAGS
    }

    /// The tail index, and in its top bits whether the ring is closed.
    #[inline]
    pub(crate) fn tail_word(self) -> u64 {
        self.tail.word()
    }

    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        // [closed:L] Acquire; pairs with [close:C]
        self.tail.index.load(Ordering::Acquire) & CLOSED != 0
    }

    /// How many slots are in use. The two indices are read one after the other, so it counts what
    /// is pushed in between.
    pub(crate) fn len(self) -> u64 {
        // The head first: read after the tail, it may have passed it.
        let head = self.head.index();
        self.claimed().saturating_sub(head).min(self.capacity())
    }

    /// Whether no slot is in use.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        // The head first: read after the tail, it may have come to where the tail was.
        let head = self.head.index();
        self.claimed() == head
    }

    /// The head index at which every slot was seen in use: they are until the head moves.
    pub(crate) fn full_at(self) -> Option<u64> {
        // The tail first, R6.
        // [tail:L] Acquire; pairs with [claim:C]
        let tail = self.tail.index.load(Ordering::Acquire) & !FLAGS;
        let head = self.head.index();
        (tail.saturating_sub(head) >= self.capacity()).then_some(head)
    }

    /// How many slots were in use at once, at most.
    pub(crate) fn high_water(self) -> u64 {
        self.head.high_water(self.claimed()).min(self.capacity())
    }
}

/// For those who know the items.
impl<S: Slots> Ring<'_, &S> {
    /// Publishes `item` at `index`.
    ///
    /// # Safety
    ///
    /// The caller has claimed the index, and has not published it (R1).
    #[inline]
    pub(crate) unsafe fn publish(self, index: u64, item: S::Item) {
        let slot = self.slots.slot(index);
        debug_assert!(
            slot.stamp.load(Ordering::Relaxed) & !TAKEN <= index,
            "R4: the slot of a claimed index is in use"
        );
        // SAFETY: R1: the slot is the caller's until the stamp says otherwise.
        slot.item.with_mut(|place| unsafe { (*place).write(item) });
        // [publish:S] Release; pairs with [stamp:L]. CLAIMED => PUBLISHED
        slot.stamp.store(index + 1, Ordering::Release);
    }

    /// Whether the item that was published at `index` has been moved out.
    #[cfg(feature = "std")]
    pub(crate) fn is_taken(self, index: u64) -> bool {
        self.head.index.load(Ordering::Relaxed) > index
            || self.slots.slot(index).stamp.load(Ordering::Relaxed) != index + 1
    }
}

/// A ring as its consumer sees it. There is one of a ring at a time.
pub(crate) struct RingConsumer<'a, S> {
    ring: Ring<'a, &'a S>,
}

/// The slot at the head, with the item of that index in it.
pub(crate) struct ReadySlot<'a, T> {
    index: u64,
    slot: &'a Slot<T>,
    head: &'a Head,
}

impl<T> ReadySlot<'_, T> {
    /// Moves the item into the result of a pop, and frees the slot.
    ///
    /// The item is moved once: to move a large one again costs more than all the rest of a pop.
    #[inline]
    pub(crate) fn take<E>(self) -> Result<T, E> {
        // SAFETY: R2, and R3: the head passes it here, and the ready slot is gone.
        let item = Ok(unsafe { self.slot.read() });
        // [head:S] Release; pairs with [limit:H]. PUBLISHED => FREE
        self.head.index.store(self.index + 1, Ordering::Release);
        item
    }
}

impl<'a, S: Slots> RingConsumer<'a, S> {
    /// # Safety
    ///
    /// While this lives there is no other consumer of the ring, and what earlier ones did happened
    /// before.
    #[inline]
    pub(crate) unsafe fn new(ring: Ring<'a, &'a S>) -> Self {
        Self { ring }
    }

    #[inline]
    fn with_cursor<R>(&mut self, access: impl FnOnce(&mut Cursor) -> R) -> R {
        // SAFETY: this is the one consumer, and it is borrowed.
        self.ring.head.cursor.with_mut(|cursor| access(unsafe { &mut *cursor }))
    }

    #[inline]
    fn head(&self) -> u64 {
        self.ring.head.index.load(Ordering::Relaxed)
    }

    /// The slot at the head, if its item is published, nothing was taken ahead of it, and
    /// `bypass_tail`, which is read after the stamp, says that the bypass is empty.
    #[inline]
    pub(crate) fn ready_slot(
        &mut self,
        bypass_tail: impl FnOnce() -> u64,
    ) -> Option<ReadySlot<'_, S::Item>> {
        let index = self.head();
        let slot = self.ring.slots.slot(index);
        let is_ready = slot.has_item_of(index) && self.is_on_fast_path(bypass_tail);
        is_ready.then_some(ReadySlot { index, slot, head: self.ring.head })
    }

    /// Whether no slot is in use, the ring is open, and `bypass_tail` says that the bypass is
    /// empty. May say no where that is so.
    pub(crate) fn is_plainly_empty(&mut self, bypass_tail: impl FnOnce() -> u64) -> bool {
        self.ring.tail_word() == self.head() && self.is_on_fast_path(bypass_tail)
    }

    /// Notes that the next item is not ready. Returns how far the head has come since the last
    /// time.
    #[inline(always)]
    pub(crate) fn note_poll(&self) -> u64 {
        let (head, polled_at) = (self.head(), self.ring.head.polled_at.load(Ordering::Relaxed));
        let popped = head.wrapping_sub(polled_at);
        if popped != 0 {
            // No model asks for it, and it would have to look at more orders.
            if !cfg!(bywash_loom) {
                let used = self.ring.claimed().wrapping_sub(polled_at);
                let high_water = &self.ring.head.high_water;
                high_water.store(used.max(high_water.load(Ordering::Relaxed)), Ordering::Relaxed);
            }
            // Not at each poll: producers read this line.
            self.ring.head.polled_at.store(head, Ordering::Relaxed);
        }
        popped
    }

    #[inline]
    fn is_on_fast_path(&mut self, bypass_tail: impl FnOnce() -> u64) -> bool {
        let bypass_tail = bypass_tail();
        self.with_cursor(|cursor| cursor.bypass_tail_when_empty == bypass_tail)
    }

    /// Moves the items that lie in a row at the head, `most` at most, to the end of `buffer`, and
    /// frees their slots at once. Returns how many; 0 where [`ready_slot`](Self::ready_slot) finds
    /// none.
    ///
    /// # Panics
    ///
    /// Where `buffer` becomes too large. Nothing was taken then.
    #[cfg(feature = "alloc")]
    pub(crate) fn take_run(
        &mut self,
        most: u64,
        bypass_tail: impl FnOnce() -> u64,
        buffer: &mut Vec<S::Item>,
    ) -> usize {
        let slots = self.ring.slots;
        let head = self.head();
        let limit = head.saturating_add(most);
        let end = (head..limit).find(|&index| !slots.slot(index).has_item_of(index));
        let end = end.unwrap_or(limit);
        if end == head || !self.is_on_fast_path(bypass_tail) {
            return 0;
        }
        let count = (end - head) as usize;
        buffer.reserve(count);
        for index in head..end {
            // SAFETY: R2, and R3: the head passes it below, and nothing panics before: there is
            // room in the buffer.
            buffer.push(unsafe { slots.slot(index).read() });
        }
        self.move_head(end);
        count
    }

    /// Turns the fast path on while the tail word of the bypass is `bypass_tail`, at which the
    /// bypass is empty; or off.
    pub(crate) fn update_fast_path(&mut self, bypass_tail: Option<u64>) {
        self.with_cursor(|cursor| {
            let word = bypass_tail.filter(|_| cursor.taken_ahead == 0).unwrap_or(FAST_PATH_OFF);
            cursor.bypass_tail_when_empty = word;
        });
    }

    /// How many items are claimed, published or not, and not taken.
    #[cfg(feature = "std")]
    pub(crate) fn left(&mut self) -> u64 {
        let in_use = self.ring.claimed() - self.head();
        in_use - self.with_cursor(|cursor| cursor.taken_ahead)
    }

    /// The tail word, if no slot is in use.
    pub(crate) fn tail_word_if_empty(&self) -> Option<u64> {
        let tail = self.ring.tail_word();
        (tail & !FLAGS == self.head()).then_some(tail)
    }

    /// Whether the ring is closed and empty, and so for good.
    pub(crate) fn is_finished(&self) -> bool {
        // [closed:L] Acquire; pairs with [close:C]
        self.ring.tail.index.load(Ordering::Acquire) & !STAYS_CLOSED == self.head() | CLOSED
    }

    /// The first index whose item is published and not taken.
    pub(crate) fn first_published(&mut self) -> Option<u64> {
        let (head, tail) = (self.head(), self.ring.claimed());
        debug_assert!(head <= tail, "R4: the head has passed the tail");
        if head == tail {
            return None;
        }
        let scan_start = self.with_cursor(|cursor| cursor.scan_start);
        let start = self.skip_taken(scan_start.max(head + 1));
        self.with_cursor(|cursor| cursor.scan_start = start);
        iter::once(head)
            .chain(start..tail)
            .find(|&index| self.ring.slots.slot(index).has_item_of(index))
    }

    /// Looks at the item of `index` in its slot, if it is published and not taken.
    pub(crate) fn peek<R>(&self, index: u64, look: impl FnOnce(&S::Item) -> R) -> Option<R> {
        let slot = self.ring.slots.slot(index);
        // SAFETY: R2: a published item is the consumer's, and is not taken while this is borrowed.
        let look = || slot.item.with(|item| look(unsafe { &*item.cast::<S::Item>() }));
        slot.has_item_of(index).then(look)
    }

    /// Calls `visitor` with each item that is published and not taken.
    pub(crate) fn visit(&self, mut visitor: impl FnMut(&S::Item)) {
        (self.head()..self.ring.claimed()).for_each(|index| _ = self.peek(index, &mut visitor));
    }

    /// Moves the item of `index` out, if it is published and not taken. Frees its slot, or marks it
    /// taken where an earlier slot is still in use.
    pub(crate) fn take(&mut self, index: u64) -> Option<S::Item> {
        let slot = self.ring.slots.slot(index);
        if !slot.has_item_of(index) {
            return None;
        }
        debug_assert!(index >= self.head(), "R3: the item was taken before");
        // SAFETY: R2, and R3: the head passes it or it is marked, before the next look.
        let item = unsafe { slot.read() };
        if index == self.head() {
            let head = self.count_out_taken(index + 1);
            self.move_head(head);
        } else {
            // PUBLISHED => TAKEN
            slot.stamp.store((index + 1) | TAKEN, Ordering::Relaxed);
            self.with_cursor(|cursor| cursor.taken_ahead += 1);
        }
        Some(item)
    }

    /// Frees the slots below `head`.
    #[inline]
    fn move_head(&mut self, head: u64) {
        debug_assert!(
            self.head() < head && head <= self.ring.claimed(),
            "R4: not a head to move to"
        );
        // [head:S] Release; pairs with [limit:H]. PUBLISHED, TAKEN => FREE
        self.ring.head.index.store(head, Ordering::Release);
    }

    /// The first index from `index` on that was not taken. Those before it are not ahead any more.
    fn count_out_taken(&mut self, index: u64) -> u64 {
        if self.with_cursor(|cursor| cursor.taken_ahead == 0) {
            return index;
        }
        let end = self.skip_taken(index);
        self.with_cursor(|cursor| {
            debug_assert!(end - index <= cursor.taken_ahead, "R3: more taken ahead than counted");
            cursor.taken_ahead -= end - index;
        });
        end
    }

    /// Marks each index that is claimed and not published as taken, and moves the head over what is
    /// taken, R7. Returns how many were claimed and not published.
    ///
    /// No push or pop of this ring is going on, and what those did that were stopped happened
    /// before.
    pub(crate) fn give_up_claims(&mut self) -> u64 {
        let (head, tail) = (self.head(), self.ring.claimed());
        let (mut given_up, mut taken) = (0, 0);
        for index in head..tail {
            let stamp = &self.ring.slots.slot(index).stamp;
            match stamp.load(Ordering::Relaxed) {
                now if now == index + 1 => continue,
                now if now == (index + 1) | TAKEN => {}
                _ => {
                    // CLAIMED => TAKEN
                    stamp.store((index + 1) | TAKEN, Ordering::Relaxed);
                    given_up += 1;
                }
            }
            taken += 1;
        }
        self.with_cursor(|cursor| {
            cursor.taken_ahead = taken;
            cursor.scan_start = 0;
        });
        let first_left = self.count_out_taken(head);
        if first_left != head {
            self.move_head(first_left);
        }
        given_up
    }

    /// The first index from `index` on that was not taken. It is less than a lap away, as the stamp
    /// says for which index it is.
    fn skip_taken(&self, mut index: u64) -> u64 {
        let is_taken = |index| {
            self.ring.slots.slot(index).stamp.load(Ordering::Relaxed) == (index + 1) | TAKEN
        };
        while is_taken(index) {
            index += 1;
        }
        index
    }
}
