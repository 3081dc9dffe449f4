//! The atomics and cells that the algorithm is written in: those of `core`, those of loom under
//! `--cfg bywash_loom`, or, under `--cfg bywash_steps`, types that call a hook before each step.

#[cfg(all(feature = "std", bywash_steps))]
pub(crate) use crate::steps::{AtomicPtr, fence};
#[cfg(bywash_steps)]
pub(crate) use crate::steps::{AtomicU64, Ordering};
#[cfg(all(target_has_atomic = "64", not(any(bywash_loom, bywash_steps))))]
pub(crate) use core::sync::atomic::AtomicU64;
#[cfg(not(any(bywash_loom, bywash_steps)))]
pub(crate) use core::sync::atomic::Ordering;
#[cfg(all(feature = "std", not(any(bywash_loom, bywash_steps))))]
pub(crate) use core::sync::atomic::{AtomicPtr, fence};
#[cfg(target_has_atomic = "64")]
pub(crate) use {core::sync::atomic::AtomicBool, crossbeam_utils::CachePadded};

#[cfg(bywash_loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence};

/// For what is left to the memory models of `tests/memory_model/`: each more that loom sees
/// multiplies its schedules.
#[cfg(all(feature = "std", not(bywash_loom)))]
pub(crate) use AtomicU64 as UnmodelledU64;
#[cfg(bywash_loom)]
pub(crate) use core::sync::atomic::AtomicU64 as UnmodelledU64;

#[cfg(all(feature = "alloc", not(bywash_loom)))]
pub(crate) use alloc::sync::Arc;
#[cfg(bywash_loom)]
pub(crate) use loom::sync::Arc;

#[cfg(bywash_loom)]
pub(crate) use loom::cell::UnsafeCell;

/// `core`'s cell with the interface of loom's, which sees each access begin and end.
#[cfg(not(bywash_loom))]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(bywash_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        #[cfg(bywash_steps)]
        crate::steps::step();
        f(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        #[cfg(bywash_steps)]
        crate::steps::step();
        f(self.0.get())
    }
}

/// Whether nothing runs at the same time as this, so that to spin gains nothing.
pub(crate) const IS_ONE_CORE: bool = cfg!(not(target_has_atomic = "64"));

/// Without 64-bit atomics of the processor's own, each operation masks interrupts. That there is
/// one core is what the feature says, which `lib.rs` asks for.
#[cfg(all(not(target_has_atomic = "64"), feature = "unsafe-assume-single-core"))]
mod one_core {
    pub(crate) use portable_atomic::{AtomicBool, AtomicU64};

    /// No other core writes the same cache line.
    #[derive(Debug)]
    pub(crate) struct CachePadded<T>(T);

    impl<T> CachePadded<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(value)
        }
    }

    impl<T> core::ops::Deref for CachePadded<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }
}
#[cfg(all(not(target_has_atomic = "64"), feature = "unsafe-assume-single-core"))]
pub(crate) use one_core::{AtomicBool, AtomicU64, CachePadded};

/// Declares functions that are `const`, except under loom, whose atomics cannot be built at compile
/// time.
macro_rules! const_fn {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty $body:block)+) => {$(
        #[cfg(not(bywash_loom))]
        $(#[$meta])* $vis const fn $name($($arg: $ty),*) -> $ret $body

        #[cfg(bywash_loom)]
        $(#[$meta])* $vis fn $name($($arg: $ty),*) -> $ret $body
    )+};
}
pub(crate) use const_fn;
