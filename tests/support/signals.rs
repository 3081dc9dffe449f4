//! Signals, and what goes with them: `errno`, timers, stacks for handlers.

use std::mem;
use std::ptr;
use std::time::Duration;

pub(crate) fn errno() -> i32 {
    // SAFETY: it has no preconditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own, and always valid.
    unsafe { *place }
}

pub(crate) fn set_errno(value: i32) {
    // SAFETY: it has no preconditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own, and always valid.
    unsafe { *place = value }
}

/// Installs `handler` for `signal`. It runs on the thread's stack for handlers, if the thread has
/// one, and interrupted system calls are restarted.
pub(crate) fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    install(signal, handler as *const () as usize, libc::SA_RESTART | libc::SA_ONSTACK);
}

/// As `sigaction`. While the handler runs, `signal` alone is blocked.
pub(crate) fn install(signal: libc::c_int, handler: usize, flags: libc::c_int) {
    // SAFETY: all zeros is a valid value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: both addresses are valid or null; the callers' handlers have the type that `flags`
    // demands.
    let result = unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Sends a signal to the thread that made it, again and again, until it is dropped.
pub(crate) struct Timer(libc::timer_t);

impl Timer {
    pub(crate) fn on_this_thread(signal: libc::c_int, period: Duration) -> Self {
        // SAFETY: all zeros is a valid value.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        // Not by the library: musl's remembers the parent's after a bare `clone`.
        // SAFETY: it has no preconditions.
        event.sigev_notify_thread_id = unsafe { libc::syscall(libc::SYS_gettid) } as libc::pid_t;
        let mut timer = ptr::null_mut();
        // SAFETY: both addresses are valid.
        let result = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) };
        assert_eq!(result, 0);
        let period = libc::timespec { tv_sec: 0, tv_nsec: period.as_nanos() as libc::c_long };
        let setting = libc::itimerspec { it_interval: period, it_value: period };
        // SAFETY: the timer was just made, and the address is valid.
        let result = unsafe { libc::timer_settime(timer, 0, &setting, ptr::null_mut()) };
        assert_eq!(result, 0);
        Self(timer)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer belongs to this value.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Gives this thread a stack for handlers with room for `frames` signals and `bytes` more, and
/// below it a page that must not be touched. It is never freed.
pub(crate) fn use_small_stack(frames: usize, bytes: usize) {
    const PAGE: usize = 4096;
    // SAFETY: it has no preconditions. Not every system says.
    let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    let frame = frame.max(libc::MINSIGSTKSZ);
    let size = (frames * frame + bytes).next_multiple_of(PAGE);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping overlaps no other.
    let mapping = unsafe {
        libc::mmap(ptr::null_mut(), PAGE + size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    assert_ne!(mapping, libc::MAP_FAILED);
    // SAFETY: the mapping is this function's own.
    let result = unsafe { libc::mprotect(mapping, PAGE, libc::PROT_NONE) };
    assert_eq!(result, 0);
    let stack =
        libc::stack_t { ss_sp: mapping.wrapping_byte_add(PAGE), ss_flags: 0, ss_size: size };
    // SAFETY: the stack is never unmapped.
    let result = unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
    assert_eq!(result, 0);
}
