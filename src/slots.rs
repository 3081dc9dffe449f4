//! Where the slots of a ring lie: on the heap, or in line, for a `static`.

use crate::ring::{Slot, Slots};

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};

/// Slots on the heap: the next power of two, so that the slot of an index is found with a mask.
#[allow(missing_debug_implementations, reason = "no user can name it")]
#[cfg(feature = "alloc")]
pub struct Boxed<T> {
    slots: Box<[Slot<T>]>,
    /// One less than their number.
    mask: usize,
    capacity: u64,
}

#[cfg(feature = "alloc")]
impl<T> Boxed<T> {
    /// # Panics
    ///
    /// Where so much cannot be allocated.
    #[track_caller]
    pub(crate) fn new(capacity: usize) -> Self {
        let mut slots = Vec::new();
        let count = capacity.checked_next_power_of_two().unwrap_or(usize::MAX);
        if slots.try_reserve_exact(count).is_err() {
            panic!(
                "bywash: a capacity of {capacity}, {} bytes each, is too large to allocate",
                size_of::<Slot<T>>()
            );
        }
        slots.resize_with(count, Slot::new);
        Self { slots: slots.into_boxed_slice(), mask: count - 1, capacity: capacity as u64 }
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
    unsafe fn slot(&self, index: u64) -> &Slot<T> {
        // SAFETY: there is at least one slot, so the mask is less than their number.
        unsafe { self.slots.get_unchecked(index as usize & self.mask) }
    }
}

/// Slots in line, just as many as the capacity.
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Inline<T, const N: usize>([Slot<T>; N]);

#[cfg(not(loom))]
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

    #[inline]
    unsafe fn slot(&self, index: u64) -> &Slot<T> {
        // With N = 0 nobody comes here, but the compiler does not know.
        let place = index.checked_rem(N as u64).unwrap_or(0) as usize;
        // SAFETY: N is not 0, says the caller, so the remainder is less than N.
        unsafe { self.0.get_unchecked(place) }
    }
}
