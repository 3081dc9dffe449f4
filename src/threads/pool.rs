//! Memory that keeps its type: what has been in a pool may be read for ever, by anybody.
//!
//! The graph of waits is read by threads that nobody waits for, and that hold nothing. So what it
//! reads is never freed, moved or mutably borrowed: it is atomic, it is given back to its pool, and
//! it is used again for the same purpose. Who follows a pointer to it always reads such an object,
//! and finds out from a number in it whether it is still the one that was meant.
//!
//! A pool is a table of chunks, each twice as large as the one before, which grows without moving.
//! The first one is in line, so a library that is unloaded mostly leaves nothing behind. And a pool
//! is a stack of what was given back (Treiber, *Systems Programming: Coping with Parallelism*,
//! 1986). The head of the stack counts its changes, so that an exchange fails if the stack has
//! changed in between (`memory_model`: `nobody_claims_what_another_has`). What is not ready to be
//! used again is passed over. Nothing here waits. An allocator hook may claim from the same pool
//! while a chunk is being allocated.
//!
//! But for the table, the atomics are `core`'s in the models too: they order nothing but the pool.

use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::sync::{AtomicPtr, const_fn};

/// What can be in a pool.
pub(crate) trait Pooled: Sized + 'static {
    /// One that was never used.
    fn new() -> Self;

    fn links(&self) -> &Links;
}

/// What its pool keeps in an object.
pub(crate) struct Links {
    /// Where it is, once it was claimed.
    index: AtomicU32,
    /// One more than the index of the next on the stack, or 0.
    next_free: AtomicU32,
}

impl Links {
    pub(crate) const fn new() -> Self {
        Self { index: AtomicU32::new(0), next_free: AtomicU32::new(0) }
    }

    pub(crate) fn index(&self) -> u32 {
        self.index.load(Ordering::Relaxed)
    }
}

/// Objects of one type. There are `FIRST << CHUNKS`, less `FIRST`, at most.
pub(crate) struct Pool<T, const CHUNKS: usize> {
    first: [T; FIRST as usize],
    /// The others, and null in the place of the first.
    chunks: [AtomicPtr<T>; CHUNKS],
    /// How many were ever claimed for the first time.
    used: AtomicU32,
    /// In the low half, one more than the index of the first on the stack, or 0; in the other, how
    /// often that has changed.
    free: AtomicU64,
}

#[cfg(not(bywash_loom))]
const fn no_chunks<T, const CHUNKS: usize>() -> [AtomicPtr<T>; CHUNKS] {
    [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS]
}

#[cfg(bywash_loom)]
fn no_chunks<T, const CHUNKS: usize>() -> [AtomicPtr<T>; CHUNKS] {
    core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut()))
}

/// The length of the first chunk. In a model each object is dear.
pub(crate) const FIRST: u32 = if cfg!(bywash_loom) { 2 } else { 64 };

impl<T: Pooled, const CHUNKS: usize> Pool<T, CHUNKS> {
    pub(crate) const LIMIT: usize = ((FIRST as usize) << CHUNKS) - FIRST as usize;

    const_fn! {
        pub(crate) fn new(first: [T; FIRST as usize]) -> Self {
            Self {
                first,
                chunks: no_chunks(),
                used: AtomicU32::new(0),
                free: AtomicU64::new(0),
            }
        }
    }

    /// One that nobody has, or `None` if all are in use. One that was given back only if it
    /// `is_ready`. May allocate, so not for signal handlers.
    pub(crate) fn claim(&self, is_ready: impl Fn(&T) -> bool) -> Option<&T> {
        self.claim_given_back(is_ready).or_else(|| self.claim_new())
    }

    /// The first on the stack that `is_ready`. Those above it may not be for long, so they are put
    /// back: they are fewer than there are threads, whereas all those below would be lost.
    fn claim_given_back(&self, is_ready: impl Fn(&T) -> bool) -> Option<&T> {
        // As on the stack, a row of its own: of those that are not ready.
        let mut others = 0;
        let found = loop {
            match self.take_first() {
                Some(object) if !is_ready(object) => {
                    object.links().next_free.store(others, Ordering::Relaxed);
                    others = object.links().index() + 1;
                }
                found => break found,
            }
        };
        while let Some(object) = others.checked_sub(1).and_then(|index| self.get(index)) {
            others = object.links().next_free.load(Ordering::Relaxed);
            self.give_back(object);
        }
        found
    }

    /// The first on the stack.
    fn take_first(&self) -> Option<&T> {
        loop {
            // Acquire; pairs with the Release in `give_back`
            let free = self.free.load(Ordering::Acquire);
            let object = self.get((free as u32).checked_sub(1)?)?;
            if self.exchange_free(free, object.links().next_free.load(Ordering::Relaxed)) {
                return Some(object);
            }
        }
    }

    /// One that was never claimed.
    fn claim_new(&self) -> Option<&T> {
        loop {
            let used = self.used.load(Ordering::Relaxed);
            if used as usize == Self::LIMIT {
                return None;
            }
            self.allocate(used);
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            if self.used.compare_exchange(used, used + 1, success, failure).is_ok() {
                let object = self.get(used)?;
                object.links().index.store(used, Ordering::Relaxed);
                return Some(object);
            }
        }
    }

    /// Takes back what the caller has claimed.
    pub(crate) fn give_back(&self, object: &T) {
        let links = object.links();
        loop {
            let free = self.free.load(Ordering::Relaxed);
            links.next_free.store(free as u32, Ordering::Relaxed);
            if self.exchange_free(free, links.index() + 1) {
                return;
            }
        }
    }

    /// Makes `first` the first on the stack.
    fn exchange_free(&self, free: u64, first: u32) -> bool {
        let new = ((free >> 32) + 1) << 32 | u64::from(first);
        // Release; pairs with the Acquire in `take_first`
        self.free.compare_exchange(free, new, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// The one of that index, if there ever was one.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, place) = Self::place(index);
        if chunk == 0 {
            return Some(&self.first[place]);
        }
        // Acquire; pairs with the Release in `allocate`
        let first = self.chunks.get(chunk)?.load(Ordering::Acquire);
        if first.is_null() {
            return None;
        }
        // SAFETY: a chunk has room for each index that has its place there, and is never freed.
        let object = unsafe { first.add(place) };
        // SAFETY: as above; its objects are shared from the time that it is in the table.
        Some(unsafe { &*object })
    }

    /// All that were ever claimed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.used.load(Ordering::Relaxed)).filter_map(|index| self.get(index))
    }

    /// The chunk in which an index has its place, and the place.
    fn place(index: u32) -> (usize, usize) {
        let chunk = (index / FIRST + 1).ilog2();
        (chunk as usize, (index - FIRST * ((1 << chunk) - 1)) as usize)
    }

    /// Takes care that there is a chunk for the index.
    fn allocate(&self, index: u32) {
        let chunk = Self::place(index).0;
        let slot = &self.chunks[chunk];
        if chunk == 0 || !slot.load(Ordering::Relaxed).is_null() {
            return;
        }
        let new = (0..FIRST << chunk).map(|_| T::new());
        let objects = Box::into_raw(new.collect::<Box<[T]>>());
        // AcqRel; pairs with the Acquire in `get`
        let (null, new, order) = (ptr::null_mut(), objects.cast(), Ordering::AcqRel);
        if slot.compare_exchange(null, new, order, Ordering::Relaxed).is_err() {
            // SAFETY: from `Box::into_raw`, and nobody has seen it.
            drop(unsafe { Box::from_raw(objects) });
        }
    }
}

#[cfg(all(test, not(any(bywash_loom, bywash_steps))))]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    struct Object {
        links: Links,
        owner: AtomicU32,
    }

    impl Object {
        const fn new() -> Self {
            Self { links: Links::new(), owner: AtomicU32::new(0) }
        }
    }

    impl Pooled for Object {
        fn new() -> Self {
            Self::new()
        }

        fn links(&self) -> &Links {
            &self.links
        }
    }

    fn pool<const CHUNKS: usize>() -> Pool<Object, CHUNKS> {
        Pool::new([const { Object::new() }; FIRST as usize])
    }

    #[test]
    fn each_index_has_its_own_place_and_there_are_no_more_than_the_limit() {
        let pool = pool::<3>();
        let all: Vec<_> = std::iter::from_fn(|| pool.claim(|_| true)).collect();
        assert_eq!((all.len(), Pool::<Object, 3>::LIMIT), (448, 448));
        assert!((0..448).eq(all.iter().map(|object| object.links.index())));
        assert!((0..448).all(|index| pool.get(index).unwrap().links.index() == index));
        assert!(pool.get(448).is_none() && pool.get(u32::MAX - 1).is_none());
        let addresses: HashSet<_> = all.iter().map(|object| ptr::from_ref(*object)).collect();
        assert_eq!(addresses.len(), 448);
        pool.give_back(all[7]);
        assert_eq!(pool.claim(|_| true).unwrap().links.index(), 7);
        assert!(pool.claim(|_| true).is_none());
        // Below others that are not ready, too; those stay where they were.
        [5, 6, 7, 8].into_iter().for_each(|index| pool.give_back(all[index]));
        assert!(pool.claim(|_| false).is_none());
        let first = |index| pool.claim(|object| object.links.index() <= index);
        assert_eq!(first(6).unwrap().links.index(), 6);
        assert_eq!([8, 7, 5].map(|_| pool.claim(|_| true).unwrap().links.index()), [8, 7, 5]);
    }

    #[test]
    fn no_two_threads_have_the_same() {
        let pool = pool::<2>();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20_000 {
                        let held: Vec<_> =
                            (0..1 + round % 3).filter_map(|_| pool.claim(|_| true)).collect();
                        for object in &held {
                            assert_eq!(object.owner.swap(1, Ordering::Relaxed), 0);
                        }
                        for object in held {
                            object.owner.store(0, Ordering::Relaxed);
                            pool.give_back(object);
                        }
                    }
                });
            }
        });
        assert!(pool.used.load(Ordering::Relaxed) <= 12);
    }
}
