//! For tests, under `--cfg bywash_steps`: atomics and cells that call a hook before each operation.
//! So a test can run anything at any step of a method, or stop a thread there.

extern crate std;

use core::cell::Cell;
use core::mem::transmute;
use core::sync::atomic;

pub(crate) use atomic::Ordering;

type Hook = &'static dyn Fn();

std::thread_local! {
    static HOOK: Cell<Option<Hook>> = const { Cell::new(None) };
}

/// Puts a hook back when dropped.
struct Restore(Option<Hook>);

impl Drop for Restore {
    fn drop(&mut self) {
        HOOK.set(self.0);
    }
}

/// Calls `hook` before each step that this thread takes in `run`. Steps that the hook takes have no
/// hook, unless it sets one.
pub fn hooked<R>(hook: &dyn Fn(), run: impl FnOnce() -> R) -> R {
    // SAFETY: `Restore` forgets the hook before its borrow ends.
    let hook = unsafe { transmute::<&dyn Fn(), Hook>(hook) };
    let _restore = Restore(HOOK.replace(Some(hook)));
    run()
}

/// Calls the hook, if there is one: the next step is about to be taken.
pub(crate) fn step() {
    if let Some(hook) = HOOK.get() {
        let _restore = Restore(HOOK.replace(None));
        hook();
    }
}

/// One of `core`'s atomics, with steps.
macro_rules! stepped {
    (
        $atomic:ident<$($param:ident)?>($value:ty) {
            $($name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)+
        }
    ) => {
        #[derive(Debug)]
        pub(crate) struct $atomic$(<$param>)?(atomic::$atomic$(<$param>)?);

        #[allow(dead_code, reason = "no set of features uses all")]
        impl$(<$param>)? $atomic$(<$param>)? {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$atomic::new(value))
            }

            $(pub(crate) fn $name(&self, $($arg: $ty),*) $(-> $ret)? {
                step();
                self.0.$name($($arg),*)
            })+
        }
    };
}

stepped! {
    AtomicU64<>(u64) {
        // The address is for the system calls on it, which are steps.
        as_ptr() -> *mut u64;
        load(order: Ordering) -> u64;
        store(value: u64, order: Ordering);
        swap(value: u64, order: Ordering) -> u64;
        fetch_add(value: u64, order: Ordering) -> u64;
        fetch_sub(value: u64, order: Ordering) -> u64;
        fetch_max(value: u64, order: Ordering) -> u64;
        fetch_or(value: u64, order: Ordering) -> u64;
        fetch_and(value: u64, order: Ordering) -> u64;
        compare_exchange(seen: u64, new: u64, then: Ordering, or: Ordering) -> Result<u64, u64>;
        compare_exchange_weak(
            seen: u64, new: u64, then: Ordering, or: Ordering
        ) -> Result<u64, u64>;
    }
}

stepped! {
    AtomicPtr<T>(*mut T) {
        load(order: Ordering) -> *mut T;
        store(value: *mut T, order: Ordering);
        compare_exchange(
            seen: *mut T, new: *mut T, then: Ordering, or: Ordering
        ) -> Result<*mut T, *mut T>;
    }
}

/// `core`'s, with a step before it.
#[cfg(feature = "std")]
pub(crate) fn fence(order: Ordering) {
    step();
    atomic::fence(order);
}
