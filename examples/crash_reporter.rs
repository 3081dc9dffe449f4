//! A crash reporter. The handler of a fatal signal, or on Windows the filter of unhandled
//! exceptions, pushes a record for a thread that may do what handlers may not, and waits until that
//! thread has written it. Then the program ends as it would have ended without a reporter.
//!
//! ```text
//! cargo run --example crash_reporter -- segv     # or abort, or panic: ends by that signal
//! ```
//!
//! Prints the record to the standard error. The queue is a `static`, so a handler can reach it at
//! any time. A panic that cannot unwind, such as one in an `extern "C"` function or in a destructor
//! that runs during another panic, aborts the program and is reported like any other abort. Only
//! Windows ends a program that aborts without asking any handler: there, `segv` is reported.

use std::process;

#[cfg(any(unix, windows))]
fn main() {
    reporter::run();
}

#[cfg(not(any(unix, windows)))]
fn main() {
    eprintln!("crash_reporter needs signals or exceptions");
    process::exit(1);
}

#[cfg(any(unix, windows))]
mod reporter {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use std::{env, ptr, thread};

    use bywash::StaticQueue;

    use super::{process, system};

    /// Has a fixed size and no destructor, because a handler must neither allocate nor free.
    pub(crate) struct Record {
        /// The signal, or the exception's code.
        pub(crate) cause: system::Cause,
        pub(crate) address: usize,
    }

    static RECORDS: StaticQueue<Record, 8, 0> = StaticQueue::new();
    /// Whether the reporter has written a record. A record that was popped may not be written yet.
    static WRITTEN: AtomicBool = AtomicBool::new(false);

    const PATIENCE: Duration = Duration::from_secs(5);

    /// For handlers: hands the record to the reporter, and waits until it is written.
    pub(crate) fn hand_over(record: Record) {
        // On the reporter's own thread this returns `Ok(false)` at once.
        if let Ok(true) = RECORDS.try_push_and_wait(record, PATIENCE) {
            for _ in 0..PATIENCE.as_millis() {
                if WRITTEN.load(Ordering::Acquire) {
                    break;
                }
                system::sleep_a_millisecond();
            }
        }
    }

    fn report() {
        let mut records = RECORDS.consumer().expect("there is one reporter");
        records.bind();
        system::use_stack_for_handlers();
        for Record { cause, address } in &mut records {
            let name = system::name(cause);
            eprintln!("crashed: {name}, address {address:#x}, process {}", process::id());
            WRITTEN.store(true, Ordering::Release);
        }
    }

    pub(crate) fn run() {
        system::use_stack_for_handlers();
        thread::spawn(report);
        system::install();
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

#[cfg(unix)]
mod system {
    use std::{mem, ptr};

    use super::reporter::{Record, hand_over};

    pub(crate) type Cause = libc::c_int;

    extern "C" fn handle(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        _context: *mut libc::c_void,
    ) {
        // SAFETY: with SA_SIGINFO the kernel passes a valid `siginfo_t`.
        let info = unsafe { &*info };
        // SAFETY: SIGSEGV sets this field; for SIGABRT other plain data lies in its place.
        let address = unsafe { info.si_addr() }.addr();
        hand_over(Record { cause: signal, address });
        // SA_RESETHAND has restored the default action. The signal stays blocked until the handler
        // returns, and then ends the program. SAFETY: `raise` has no preconditions.
        unsafe { libc::raise(signal) };
    }

    pub(crate) fn install() {
        for signal in [libc::SIGSEGV, libc::SIGABRT] {
            // SAFETY: all zeros are an empty mask and no flags.
            let mut action: libc::sigaction = unsafe { mem::zeroed() };
            action.sa_sigaction = handle as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
            // SAFETY: the handler does nothing but what handlers may do.
            assert_eq!(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }, 0);
        }
    }

    /// Gives the calling thread a stack for handlers, so that the overflow of its ordinary stack is
    /// reported too. Each thread needs one of its own.
    pub(crate) fn use_stack_for_handlers() {
        const SIZE: usize = 64 * 1024;
        let stack = Box::leak(vec![0u8; SIZE].into_boxed_slice());
        let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: SIZE };
        // SAFETY: the stack is never freed.
        assert_eq!(unsafe { libc::sigaltstack(&stack, ptr::null_mut()) }, 0);
    }

    pub(crate) fn sleep_a_millisecond() {
        let moment = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        // SAFETY: the address is valid for the call.
        unsafe { libc::nanosleep(&moment, ptr::null_mut()) };
    }

    pub(crate) fn name(signal: Cause) -> &'static str {
        if signal == libc::SIGSEGV { "SIGSEGV" } else { "SIGABRT" }
    }
}

#[cfg(windows)]
mod system {
    use windows_sys::Win32::Foundation::{EXCEPTION_ACCESS_VIOLATION, EXCEPTION_STACK_OVERFLOW};
    use windows_sys::Win32::System::Diagnostics::Debug::{
        EXCEPTION_CONTINUE_SEARCH, EXCEPTION_POINTERS, SetUnhandledExceptionFilter,
    };
    use windows_sys::Win32::System::Threading::{SetThreadStackGuarantee, Sleep};

    use super::reporter::{Record, hand_over};

    pub(crate) type Cause = i32;

    unsafe extern "system" fn filter(exception: *const EXCEPTION_POINTERS) -> i32 {
        // SAFETY: Windows passes valid pointers.
        let record = unsafe { &*(*exception).ExceptionRecord };
        let address = match record.ExceptionCode {
            // What was accessed. Else, where the program was.
            EXCEPTION_ACCESS_VIOLATION => record.ExceptionInformation[1],
            _ => record.ExceptionAddress.addr(),
        };
        hand_over(Record { cause: record.ExceptionCode, address });
        EXCEPTION_CONTINUE_SEARCH
    }

    pub(crate) fn install() {
        // SAFETY: the filter does nothing but what it may do on a thread that has failed anywhere.
        unsafe { SetUnhandledExceptionFilter(Some(filter)) };
    }

    /// Keeps a part of the calling thread's stack for the filter, so that an overflow is reported
    /// too. Each thread needs one of its own.
    pub(crate) fn use_stack_for_handlers() {
        let mut size = 64 * 1024;
        // SAFETY: the address is valid for the call.
        assert_ne!(unsafe { SetThreadStackGuarantee(&mut size) }, 0);
    }

    pub(crate) fn sleep_a_millisecond() {
        // SAFETY: it has no conditions.
        unsafe { Sleep(1) };
    }

    pub(crate) fn name(code: Cause) -> &'static str {
        match code {
            EXCEPTION_ACCESS_VIOLATION => "EXCEPTION_ACCESS_VIOLATION",
            EXCEPTION_STACK_OVERFLOW => "EXCEPTION_STACK_OVERFLOW",
            _ => "another exception",
        }
    }
}
