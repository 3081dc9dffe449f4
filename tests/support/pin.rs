//! Threads on processors.

/// Keeps the calling thread on one processor, the `number`-th modulo their number, if possible. The
/// scheduler may pack threads that wake each other onto one, and then a race that needs two never
/// happens.
#[cfg(target_os = "linux")]
pub(crate) fn pin(number: usize) {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // SAFETY: all zeros is a valid set, with no bit set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: there are more bits than processors.
    unsafe { libc::CPU_SET(number % count, &mut set) };
    // SAFETY: the set is valid for the call. If it fails, the thread is not pinned.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_number: usize) {}
