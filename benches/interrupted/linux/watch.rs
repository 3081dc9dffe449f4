//! Waiting for the end of a try, and telling a hang from slow progress.
//!
//! No time on the wall decides it but the last resort. A try spins for ever when it has used so
//! much processor time without progress; it sleeps for ever when each of its threads is in a system
//! call that nothing but another thread ends. Either is looked at again, after twice the time,
//! before it is called a hang.
//!
//! The process that waits may be stepping, on top of an interrupted allocator: here is no
//! allocation.

use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::asleep::all_sleep_unbounded;
use super::board::{Phase, Verdict, board};
use super::child::{self, Ending};

/// Processor time without progress before the first look at a try that spins.
const SPIN: Duration = Duration::from_millis(10);
/// How often threads are looked at.
const TICK: Duration = Duration::from_millis(1);
/// The last resort: for tries that neither spin nor sleep, as with naps.
const WALL: Duration = Duration::from_secs(5);

/// What a child says when the call was over before the step at which to interrupt it.
pub(crate) const TOO_LATE: i32 = 50;

/// The signal that wakes a receiver, if its try has such a handler.
pub(crate) const WAKE: libc::c_int = libc::SIGUSR1;

/// Makes a try in a process of its own. `None`: there was nothing to be tried any more.
pub(crate) fn attempt(body: impl FnOnce() -> i32) -> Option<Verdict> {
    board().begin();
    match child::fork() {
        0 => {
            // To print, and to find out from where, would take longer than a try may.
            panic::set_hook(Box::new(|_| {}));
            child::exit(catch_unwind(AssertUnwindSafe(body)).unwrap_or(child::PANICKED))
        }
        pid => wait(pid, false),
    }
}

/// Waits for the end of the child. When all its threads sleep it is sent a signal first, if it is
/// to be woken.
pub(crate) fn wait(pid: libc::pid_t, wake: bool) -> Option<Verdict> {
    // SAFETY: it has no preconditions.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as libc::c_int;
    assert!(descriptor >= 0, "it takes Linux 5.3");
    let stuck = wait_until_ended_or_stuck(pid, descriptor, wake);
    if stuck.is_some() {
        kill(pid, libc::SIGKILL);
    }
    // SAFETY: just opened, and this function's own.
    unsafe { libc::close(descriptor) };
    let ending = child::wait(pid);
    stuck.or(match ending {
        Ending::Exit(TOO_LATE) => None,
        Ending::Exit(code) => Some(*Verdict::ALL.get(code as usize).unwrap_or(&Verdict::Crash)),
        Ending::Hang => Some(Verdict::Hang),
        Ending::Crash(_) => Some(Verdict::Crash),
    })
}

fn wait_until_ended_or_stuck(
    pid: libc::pid_t,
    descriptor: libc::c_int,
    mut wake: bool,
) -> Option<Verdict> {
    let mut still = Still::new(pid);
    while !has_ended(descriptor) {
        if still.progress != board().progress() {
            still = Still::new(pid);
        }
        let looks = still.look(pid);
        if wake && still.asleep > 0 {
            wake = false;
            kill(pid, WAKE);
            still = Still::new(pid);
        } else if looks >= 3 {
            let asleep = still.asleep > 0 && board().is_in(Phase::Wakeup);
            return Some(if asleep { Verdict::Asleep } else { Verdict::Hang });
        }
    }
    None
}

/// Since when there has been no progress.
struct Still {
    progress: usize,
    processor: Duration,
    time: Instant,
    /// In how many looks in a row all threads slept.
    asleep: u32,
}

impl Still {
    fn new(pid: libc::pid_t) -> Self {
        let progress = board().progress();
        Self { progress, processor: processor_time(pid), time: Instant::now(), asleep: 0 }
    }

    /// For how many times as long as is suspicious: 1 is the first look, and 3 the second.
    fn look(&mut self, pid: libc::pid_t) -> u32 {
        self.asleep = if all_sleep_unbounded(pid) { self.asleep + 1 } else { 0 };
        let processor = processor_time(pid).saturating_sub(self.processor);
        let times = |time: Duration, of: Duration| (time.as_nanos() / of.as_nanos()) as u32;
        self.asleep.max(times(processor, SPIN)).max(times(self.time.elapsed(), WALL))
    }
}

/// Waits a tick for it.
fn has_ended(descriptor: libc::c_int) -> bool {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    // SAFETY: the address is valid.
    unsafe { libc::poll(&mut poll, 1, TICK.as_millis() as libc::c_int) == 1 }
}

fn kill(pid: libc::pid_t, signal: libc::c_int) {
    // SAFETY: a child that has not been waited for.
    unsafe { libc::kill(pid, signal) };
}

/// What a process has used of processors so far.
fn processor_time(pid: libc::pid_t) -> Duration {
    const CPUCLOCK_SCHED: libc::clockid_t = 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the address is valid. The clock is the process's, as `clock_getcpuclockid` makes it.
    unsafe { libc::clock_gettime((!pid << 3) | CPUCLOCK_SCHED, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
