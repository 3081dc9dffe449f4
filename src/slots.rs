//! Where the slots of a ring are: on the heap, or in line, for a `static`.
//!
//! Zeroed memory is an empty ring (`ring.rs`), so slots on the heap are allocated zeroed and never
//! written before they are used. The system hands out large blocks page by page, each when it is
//! first touched: slots that are never used take no memory.

use crate::ring::{Slot, Slots};

#[cfg(feature = "alloc")]
use core::num::NonZeroU64;
#[cfg(all(feature = "alloc", not(bywash_loom)))]
use {
    alloc::alloc::{alloc_zeroed, dealloc},
    core::alloc::Layout,
    core::ptr::NonNull,
};

/// Empty slots on the heap, at least one.
#[cfg(all(feature = "alloc", not(bywash_loom)))]
struct Zeroed<T> {
    first: NonNull<Slot<T>>,
    /// What was allocated. `first` lies in it, aligned.
    block: NonNull<u8>,
    /// The number of slots less one.
    last: usize,
}

// SAFETY: it owns the slots, as a box would.
#[cfg(all(feature = "alloc", not(bywash_loom)))]
unsafe impl<T: Send> Send for Zeroed<T> {}
// SAFETY: as for `Send`; `Slot` says when slots may be shared.
#[cfg(all(feature = "alloc", not(bywash_loom)))]
unsafe impl<T: Send> Sync for Zeroed<T> {}

#[cfg(all(feature = "alloc", not(bywash_loom)))]
impl<T> Zeroed<T> {
    /// `None` where so much cannot be allocated.
    fn new(count: usize) -> Option<Self> {
        let layout = Self::block(count)?;
        // SAFETY: its size is not 0: there is a slot, and in it a stamp.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let padding = block.align_offset(align_of::<Slot<T>>());
        // SAFETY: the block is larger than the slots by the longest padding there may be.
        let first = unsafe { block.add(padding) }.cast();
        Some(Self { first, block, last: count - 1 })
    }

    /// The block for so many slots. It is aligned no more than allocators do by themselves, and
    /// has room to align the slots in it: for a larger alignment, allocators get any memory and
    /// write the zeros.
    fn block(count: usize) -> Option<Layout> {
        let slots = Layout::array::<Slot<T>>(count).ok()?;
        let align = slots.align().min(2 * size_of::<usize>());
        let size = slots.size().checked_add(slots.align() - align)?;
        Layout::from_size_align(size, align).ok()
    }

    /// # Safety
    ///
    /// `index` is not larger than `last`.
    #[inline]
    unsafe fn get(&self, index: usize) -> &Slot<T> {
        // SAFETY: the caller guarantees that the slot is in the block.
        let slot = unsafe { self.first.add(index) };
        // SAFETY: a slot of zeros is a valid one, and the block lives as long as this.
        unsafe { slot.as_ref() }
    }
}

#[cfg(all(feature = "alloc", not(bywash_loom)))]
impl<T> Drop for Zeroed<T> {
    /// Touches no slot: what is in them was moved out before.
    fn drop(&mut self) {
        if let Some(layout) = Self::block(self.last + 1) {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(self.block.as_ptr(), layout) };
        }
    }
}

/// The same under loom, whose atomics are more than a number.
#[cfg(all(feature = "alloc", bywash_loom))]
struct Zeroed<T> {
    slots: alloc::boxed::Box<[Slot<T>]>,
    last: usize,
}

#[cfg(all(feature = "alloc", bywash_loom))]
impl<T> Zeroed<T> {
    fn new(count: usize) -> Option<Self> {
        let slots = core::iter::repeat_with(Slot::new).take(count).collect();
        Some(Self { slots, last: count - 1 })
    }

    unsafe fn get(&self, index: usize) -> &Slot<T> {
        &self.slots[index]
    }
}

/// Slots on the heap for the ring. Their number is a power of two, so that a mask finds the slot of
/// an index.
#[allow(missing_debug_implementations, reason = "no user can name it")]
#[cfg(feature = "alloc")]
pub struct Boxed<T> {
    slots: Zeroed<T>,
    capacity: u64,
}

#[cfg(feature = "alloc")]
impl<T> Boxed<T> {
    /// # Panics
    ///
    /// If so much cannot be allocated.
    #[track_caller]
    pub(crate) fn new(capacity: usize) -> Self {
        match capacity.checked_next_power_of_two().and_then(Zeroed::new) {
            Some(slots) => Self { slots, capacity: capacity as u64 },
            None => too_large::<T>("capacity", capacity, ""),
        }
    }
}

// SAFETY: there are at least `capacity` slots, and their number is a power of two.
#[cfg(feature = "alloc")]
unsafe impl<T> Slots for Boxed<T> {
    type Item = T;

    #[inline]
    fn capacity(&self) -> u64 {
        self.capacity
    }

    #[inline]
    fn slot(&self, index: u64) -> &Slot<T> {
        // SAFETY: the number of slots is a power of two, so `last` is the mask.
        unsafe { self.slots.get(index as usize & self.slots.last) }
    }
}

/// Slots on the heap for the bypass, as many as its capacity: a division finds the slot of an
/// index, off the fast path.
#[allow(missing_debug_implementations, reason = "no user can name it")]
#[cfg(feature = "alloc")]
pub struct BoxedExact<T> {
    slots: Zeroed<T>,
    capacity: u64,
}

#[cfg(feature = "alloc")]
impl<T> BoxedExact<T> {
    /// One slot, which is never used, for a capacity of 0.
    ///
    /// # Panics
    ///
    /// Where so much cannot be allocated.
    #[track_caller]
    pub(crate) fn new(capacity: usize) -> Self {
        match Zeroed::new(capacity.max(1)) {
            Some(slots) => Self { slots, capacity: capacity as u64 },
            None => too_large::<T>("bypass", capacity, ": `Builder::bypass` sets a smaller one"),
        }
    }
}

// SAFETY: indices less than the number of slots apart differ modulo that number, which is the
// capacity, and indices never wrap.
#[cfg(feature = "alloc")]
unsafe impl<T> Slots for BoxedExact<T> {
    type Item = T;

    #[inline]
    fn capacity(&self) -> u64 {
        self.capacity
    }

    #[inline]
    fn slot(&self, index: u64) -> &Slot<T> {
        let count = NonZeroU64::MIN.saturating_add(self.slots.last as u64);
        // SAFETY: a remainder is less than the number of slots.
        unsafe { self.slots.get((index % count) as usize) }
    }
}

#[cfg(feature = "alloc")]
#[cold]
#[track_caller]
fn too_large<T>(what: &str, count: usize, advice: &str) -> ! {
    let size = size_of::<Slot<T>>();
    panic!(
        "bywash: a {what} of {count} items, {size} bytes each, is too large to allocate{advice}"
    );
}

/// Slots in line, as many as the capacity.
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Inline<T, const N: usize>([Slot<T>; N]);

#[cfg(not(bywash_loom))]
impl<T, const N: usize> Inline<T, N> {
    pub(crate) const fn new() -> Self {
        Self([const { Slot::new() }; N])
    }
}

// SAFETY: indices less than N apart differ modulo N, and indices never wrap.
unsafe impl<T, const N: usize> Slots for Inline<T, N> {
    type Item = T;

    #[inline]
    fn capacity(&self) -> u64 {
        N as u64
    }

    /// Panics with N = 0, where no index is ever asked for. For any other N the compiler sees that
    /// it cannot panic.
    #[inline]
    fn slot(&self, index: u64) -> &Slot<T> {
        &self.0[(index % N as u64) as usize]
    }
}
