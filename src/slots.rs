//! Where the slots of a ring are: on the heap, or in line, for a `static`.

use crate::ring::{Slot, Slots};

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};

/// Slots on the heap. Their number is a power of two, so that a mask finds the slot of an index.
#[allow(missing_debug_implementations, reason = "no user can name it")]
#[cfg(feature = "alloc")]
pub struct Boxed<T> {
    slots: Box<[Slot<T>]>,
    /// The number of slots, less one.
    mask: usize,
    capacity: u64,
}

#[cfg(feature = "alloc")]
impl<T> Boxed<T> {
    /// There is at least one slot, also for a capacity of 0.
    ///
    /// # Panics
    ///
    /// If so much cannot be allocated.
    #[track_caller]
    pub(crate) fn new(capacity: usize) -> Self {
        let mut slots = Vec::new();
        let count = capacity.checked_next_power_of_two().unwrap_or(usize::MAX);
        if slots.try_reserve_exact(count).is_err() {
            let size = size_of::<Slot<T>>();
            panic!("bywash: a capacity of {capacity}, {size} bytes each, is too large to allocate");
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
    fn slot(&self, index: u64) -> &Slot<T> {
        // SAFETY: the mask is one less than the number of slots, which is not 0.
        unsafe { self.slots.get_unchecked(index as usize & self.mask) }
    }
}

/// Slots in line, as many as the capacity.
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

    /// Panics with N = 0, where no index is ever asked for. For any other N the compiler sees that
    /// it cannot panic.
    #[inline]
    fn slot(&self, index: u64) -> &Slot<T> {
        &self.0[(index % N as u64) as usize]
    }
}
