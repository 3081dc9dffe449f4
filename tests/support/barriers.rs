//! Registering for `membarrier`.

/// Makes this process one that has waited before: else its first waits are rows of naps.
pub(crate) fn register() {
    const REGISTER_EXPEDITED: libc::c_int = 1 << 4;
    // SAFETY: it takes no addresses. Where it fails, it fails for the queue, too.
    unsafe { libc::syscall(libc::SYS_membarrier, REGISTER_EXPEDITED, 0, 0) };
}
