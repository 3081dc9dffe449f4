//! Signals that ask the program to end, or tell it something, leave a listener's thread alone.
#![cfg(all(unix, feature = "std", not(bywash_loom)))]

mod support;

use std::mem::MaybeUninit;
use std::sync::mpsc::channel;
use std::time::Duration;

use bywash::{Listener, bounded};
use support::watch;

/// So long that it never ends: the watchdog ends the test before.
const LONG: Duration = Duration::from_secs(3_600);

/// As the docs of `Listener` list them.
const BLOCKED: [libc::c_int; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGUSR1,
    libc::SIGUSR2,
];
const LEFT_ALONE: [libc::c_int; 10] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGPROF,
    libc::SIGPIPE,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the address is valid.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: just initialised.
    unsafe { set.assume_init() }
}

fn only(signal: libc::c_int) -> libc::sigset_t {
    let mut set = empty();
    // SAFETY: the set is valid.
    unsafe { libc::sigaddset(&mut set, signal) };
    set
}

/// Changes the mask of the calling thread, and returns what it was.
fn change_mask(how: libc::c_int, set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = empty();
    // SAFETY: the sets are valid.
    assert_eq!(unsafe { libc::pthread_sigmask(how, set, &mut before) }, 0);
    before
}

/// Which of `signals` the calling thread blocks.
fn blocked(signals: &[libc::c_int]) -> Vec<libc::c_int> {
    let mask = change_mask(libc::SIG_BLOCK, &empty());
    // SAFETY: the set is valid.
    let is_blocked = |&signal: &libc::c_int| unsafe { libc::sigismember(&mask, signal) } == 1;
    signals.iter().copied().filter(is_blocked).collect()
}

/// What the thread of a listener blocks, of those that are blocked and of those that are not.
fn blocked_there(on_start: impl FnOnce() + Send + 'static) -> [Vec<libc::c_int>; 2] {
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(1);
    let handler = move |()| sender.send([blocked(&BLOCKED), blocked(&LEFT_ALONE)]).unwrap();
    let listener = Listener::builder().on_start(on_start).spawn(consumer, handler).unwrap();
    producer.push(()).unwrap();
    listener.stop(LONG).unwrap();
    handled.recv().unwrap()
}

#[test]
fn its_thread_blocks_what_the_docs_list_and_nothing_else() {
    watch();
    assert_eq!(blocked_there(|| ()), [BLOCKED.to_vec(), vec![]]);
    // The mask of who starts it is as it was, and otherwise inherited.
    assert_eq!([blocked(&BLOCKED), blocked(&LEFT_ALONE)], [vec![], vec![]]);
    let before = change_mask(libc::SIG_BLOCK, &only(libc::SIGTTOU));
    assert_eq!(blocked_there(|| ()), [BLOCKED.to_vec(), vec![libc::SIGTTOU]]);
    change_mask(libc::SIG_SETMASK, &before);
}

#[test]
fn what_is_done_at_its_start_may_change_that() {
    watch();
    let unblock = || _ = change_mask(libc::SIG_UNBLOCK, &only(libc::SIGUSR1));
    let [blocked, _] = blocked_there(unblock);
    assert_eq!(blocked.len(), BLOCKED.len() - 1);
    assert!(!blocked.contains(&libc::SIGUSR1));
}

#[test]
fn a_thread_that_cannot_be_started_leaves_the_mask_alone() {
    watch();
    let (_producer, consumer) = bounded::<u8>(1);
    // With 32 bits, a quarter of them may be had.
    let builder = Listener::builder().stack_size(usize::MAX / 16 * 15);
    assert!(builder.spawn(consumer, |_: u8| ()).is_err());
    assert_eq!(blocked(&BLOCKED), []);
}

/// `main` blocks SIGTERM after it has started the listener, and waits for it: in a child, as it
/// takes all other threads that do not block it.
#[test]
fn a_program_that_waits_for_sigterm_in_main_gets_it() {
    watch();
    for _ in 0..10 {
        // SAFETY: the child ends here, and what it calls needs nothing of the other threads but
        // the allocator, which the system's `fork` takes care of.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: they have no preconditions.
            unsafe { libc::alarm(30) };
            let (_producer, consumer) = bounded::<u8>(1);
            let listener = Listener::spawn("log", consumer, |_| ());
            let sigterm = only(libc::SIGTERM);
            change_mask(libc::SIG_BLOCK, &sigterm);
            // SAFETY: it has no preconditions.
            unsafe { libc::kill(std::process::id() as libc::pid_t, libc::SIGTERM) };
            let mut signal = 0;
            // SAFETY: the addresses are valid.
            let error = unsafe { libc::sigwait(&sigterm, &mut signal) };
            let is_well = listener.is_ok() && (error, signal) == (0, libc::SIGTERM);
            // SAFETY: it has no preconditions.
            unsafe { libc::_exit(i32::from(!is_well)) };
        }
        let mut status = -1;
        // SAFETY: the address is valid.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFEXITED(status), "ended by signal {}", libc::WTERMSIG(status));
        assert_eq!(libc::WEXITSTATUS(status), 0);
    }
}
