//! Linux: system calls that leave `errno` alone, for signal handlers.

/// Calls `f`, and leaves `errno` as it was.
pub(crate) fn keep_errno<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: it has no conditions.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is this thread's, for as long as the thread lives.
    let before = unsafe { *errno };
    let result = f();
    // SAFETY: as above.
    unsafe { *errno = before };
    result
}
