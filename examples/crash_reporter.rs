//! A crash reporter. The handler of a fatal signal pushes a record for a thread that may do what
//! handlers may not, and waits until that thread has written it. Then the program ends as it would
//! have ended without a reporter.
//!
//! ```text
//! cargo run --example crash_reporter -- segv     # or abort, or panic: ends by that signal
//! ```
//!
//! Prints the record to the standard error. The queue is a `static`, so a handler can reach it at
//! any time. A panic that cannot unwind, such as one in an `extern "C"` function or in a destructor
//! that runs during another panic, aborts the program and is reported like any other abort.

#[cfg(not(unix))]
fn main() {
    eprintln!("crash_reporter needs signals");
}

#[cfg(unix)]
fn main() {
    reporter::run();
}

#[cfg(unix)]
mod reporter {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use std::{env, mem, process, ptr, thread};

    use bywash::StaticQueue;

    /// Has a fixed size and no destructor, because a handler must neither allocate nor free.
    struct Record {
        signal: libc::c_int,
        address: usize,
    }

    static RECORDS: StaticQueue<Record, 8, 0> = StaticQueue::new();
    /// Whether the reporter has written a record. A record that was popped may not be written yet.
    static WRITTEN: AtomicBool = AtomicBool::new(false);

    const PATIENCE: Duration = Duration::from_secs(5);

    extern "C" fn handle(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        _context: *mut libc::c_void,
    ) {
        // SAFETY: with SA_SIGINFO the kernel passes a valid `siginfo_t`.
        let info = unsafe { &*info };
        // SAFETY: SIGSEGV sets this field; for SIGABRT other plain data lies in its place.
        let address = unsafe { info.si_addr() }.addr();
        // On the reporter's own thread this returns `Ok(false)` at once.
        if let Ok(true) = RECORDS.try_push_and_wait(Record { signal, address }, PATIENCE) {
            let moment = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            for _ in 0..PATIENCE.as_millis() {
                if WRITTEN.load(Ordering::Acquire) {
                    break;
                }
                // SAFETY: the address is valid for the call.
                unsafe { libc::nanosleep(&moment, ptr::null_mut()) };
            }
        }
        // SA_RESETHAND has restored the default action. The signal stays blocked until the handler
        // returns, and then ends the program. SAFETY: `raise` has no preconditions.
        unsafe { libc::raise(signal) };
    }

    fn install(signal: libc::c_int) {
        // SAFETY: all zeros are an empty mask and no flags.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = handle as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        // SAFETY: the handler does nothing but what handlers may do.
        assert_eq!(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }, 0);
    }

    /// Gives the calling thread a stack for handlers, so that the overflow of its ordinary stack is
    /// reported too. Each thread needs one of its own.
    fn use_stack_for_handlers() {
        const SIZE: usize = 64 * 1024;
        let stack = Box::leak(vec![0u8; SIZE].into_boxed_slice());
        let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: SIZE };
        // SAFETY: the stack is never freed.
        assert_eq!(unsafe { libc::sigaltstack(&stack, ptr::null_mut()) }, 0);
    }

    fn report() {
        let mut records = RECORDS.consumer().expect("there is one reporter");
        records.bind();
        use_stack_for_handlers();
        for Record { signal, address } in &mut records {
            let name = if signal == libc::SIGSEGV { "SIGSEGV" } else { "SIGABRT" };
            eprintln!("crashed: {name}, address {address:#x}, process {}", process::id());
            WRITTEN.store(true, Ordering::Release);
        }
    }

    pub(crate) fn run() {
        use_stack_for_handlers();
        thread::spawn(report);
        [libc::SIGSEGV, libc::SIGABRT].into_iter().for_each(install);
        println!("about to crash");
        match env::args().nth(1).as_deref() {
            // SAFETY: unsound on purpose.
            Some("segv") => unsafe { ptr::without_provenance_mut::<u8>(8).write_volatile(1) },
            Some("panic") => cannot_unwind(),
            _ => process::abort(),
        }
    }

    extern "C" fn cannot_unwind() {
        panic!("on purpose");
    }
}
