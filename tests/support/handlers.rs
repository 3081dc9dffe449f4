//! Runs any code inside a real signal handler on the calling thread.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::cell::Cell;

type Job = *const dyn Fn();

std::thread_local! {
    static JOB: Cell<Option<Job>> = const { Cell::new(None) };
}

extern "C" fn run_job(_signal: libc::c_int) {
    if let Some(job) = JOB.take() {
        // SAFETY: `in_handler` waits in `raise` while it borrows the job; `at_next_signal` leaked
        // it.
        unsafe { (*job)() }
    }
}

/// From here on `signal` ends no process. Install it before a thread sends it to another one, which
/// may have no job yet.
pub(crate) fn install(signal: libc::c_int) {
    // SAFETY: all zeros are an empty mask and no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = run_job as *const () as libc::sighandler_t;
    // SAFETY: the addresses are valid or null.
    assert_eq!(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }, 0);
}

/// Raises `signal`, and runs `job` in its handler.
pub(crate) fn in_handler(signal: libc::c_int, job: &dyn Fn()) {
    install(signal);
    // SAFETY: the handler takes it before its borrow ends.
    JOB.set(Some(unsafe { std::mem::transmute::<&dyn Fn(), Job>(job) }));
    // SAFETY: the handler is installed.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
    assert!(JOB.get().is_none(), "the handler has not run");
}

/// Leaves `job` for the handler of the next `signal` that this thread gets.
pub(crate) fn at_next_signal(signal: libc::c_int, job: impl Fn() + 'static) {
    install(signal);
    let job: Box<dyn Fn()> = Box::new(job);
    JOB.set(Some(Box::into_raw(job)));
}

/// Sends `signal` to a thread that was not joined.
pub(crate) fn send<T>(thread: &std::thread::JoinHandle<T>, signal: libc::c_int) {
    use std::os::unix::thread::JoinHandleExt;
    // SAFETY: the thread has not been joined.
    assert_eq!(unsafe { libc::pthread_kill(thread.as_pthread_t() as _, signal) }, 0);
}
