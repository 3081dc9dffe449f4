//! The list of system calls in "In production" is complete: a process goes on under a filter that
//! kills for any other, but for what the C library and the standard library do by themselves.
#![cfg(all(
    feature = "std",
    target_os = "linux",
    target_pointer_width = "64",
    not(any(bywash_loom, bywash_portable, miri))
))]

#[path = "support/filters.rs"]
mod filters;
mod support;

use std::env;
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use bywash::{Listener, StaticQueue, StopToken, bounded};
use filters::{Rule, When, filter};
use support::SleepWatch;

const OURS: [(&str, libc::c_long); 13] = [
    ("futex", libc::SYS_futex),
    ("membarrier", libc::SYS_membarrier),
    ("clock_nanosleep", libc::SYS_clock_nanosleep),
    ("sched_yield", libc::SYS_sched_yield),
    ("getpid", libc::SYS_getpid),
    ("gettid", libc::SYS_gettid),
    ("tgkill", libc::SYS_tgkill),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    ("eventfd2", libc::SYS_eventfd2),
    ("fcntl", libc::SYS_fcntl),
    ("read", libc::SYS_read),
    ("write", libc::SYS_write),
    ("close", libc::SYS_close),
];

/// Memory, threads and their names, and a clock where there is no vDSO.
const OF_THE_LIBRARIES: [libc::c_long; 17] = [
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sigaltstack,
    libc::SYS_sched_getaffinity,
    libc::SYS_prctl,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
];

/// From here on, every other system call of any thread ends the process.
fn install_filter() {
    let calls = OURS.iter().map(|call| call.1).chain(OF_THE_LIBRARIES);
    let rules: Vec<_> = calls.map(|call| Rule { call, when: When::Always }).collect();
    let (allow, kill) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_KILL_PROCESS);
    filter(&rules, allow, kill, libc::SECCOMP_FILTER_FLAG_TSYNC);
}

/// Everything that may make a system call.
fn call_everything() {
    static QUEUE: StaticQueue<u32, 4, 4> = StaticQueue::new();
    const SHORT: Duration = Duration::from_millis(3);
    const LONG: Duration = Duration::from_secs(10);

    assert!(bywash::set_long_wait_hook(SHORT, |wait| assert!(!wait.to_string().is_empty())));
    let (producer, mut consumer) = bounded::<u32>(4);
    let domain = consumer.domain();
    consumer.bind();
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..3000 {
                if i % 500 == 0 {
                    thread::sleep(SHORT);
                }
                producer.push(i).unwrap();
            }
        });
        for i in 0..3000 {
            // The second pause is longer than a push sleeps without looking.
            match i {
                700 | 1900 => thread::sleep(SHORT),
                1300 => thread::sleep(Duration::from_millis(1200)),
                _ => {}
            }
            assert_eq!(consumer.pop(), Ok(i));
        }
    });
    thread::scope(|scope| _ = scope.spawn(|| drop(domain.enter())));
    assert!(consumer.pop_timeout(SHORT).is_err() && !producer.is_consumer_gone());
    consumer.unbind();
    (0..4).for_each(|i| producer.push(i).unwrap());
    assert!(producer.push_timeout_or_count(4, SHORT).is_err());
    assert!(consumer.try_iter().eq(0..4));

    #[cfg(feature = "eventfd")]
    {
        use std::os::fd::AsRawFd;

        let _fd = consumer.event_fd().unwrap().as_raw_fd();
        while !consumer.arm() {}
        producer.try_push(1).unwrap();
        assert_eq!(consumer.try_pop(), Ok(1));
        assert!(consumer.arm());
    }

    consumer.linger(SHORT, 4);
    producer.wake_consumer();
    let stop = StopToken::new();
    let is_stopping = stop.clone();
    let handler = move |_| _ = is_stopping.wait(SHORT);
    let listener = Listener::builder().name("a name").stop_token(stop);
    let listener = listener.spawn(consumer, handler).unwrap();
    producer.push(1).unwrap();
    listener.flush(LONG).unwrap();
    assert_eq!(producer.try_push_and_wait(2, LONG), Ok(true));
    listener.stop(LONG).unwrap();
    drop(listener);
    drop(producer);

    let mut consumer = QUEUE.consumer().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(consumer.pop(), Ok(1)));
        thread::sleep(SHORT);
        QUEUE.push(1).unwrap();
    });
    QUEUE.close();
}

/// Runs `run` in a process of its own, for the test of this name. How that ends.
fn in_child(name: &str, run: impl FnOnce()) -> ExitStatus {
    const IS_CHILD: &str = "BYWASH_SYSTEM_CALLS_CHILD";

    if env::var_os(IS_CHILD).is_some() {
        // SAFETY: it has no preconditions.
        unsafe { libc::alarm(60) };
        run();
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(0) };
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]).env(IS_CHILD, "1").status().unwrap()
}

#[test]
fn no_other_system_calls_are_made() {
    let status = in_child("no_other_system_calls_are_made", || {
        install_filter();
        call_everything();
    });
    assert_ne!(status.signal(), Some(libc::SIGSYS), "another system call");
    assert!(status.success(), "{status}");
}

/// Pushes so many items to a consumer that lingers for 64, on a thread that may not wake it.
fn push_to_one_that_lingers(count: u32) {
    let (producer, mut consumer) = bounded(100);
    consumer.linger(Duration::from_secs(3600), 64);
    producer.push(0).unwrap();
    let asleep = SleepWatch::default();
    let its = asleep.clone();
    thread::spawn(move || {
        assert_eq!(consumer.pop(), Ok(0));
        its.begin();
        consumer.pop()
    });
    asleep.wait();
    let futex = [Rule { call: libc::SYS_futex, when: When::Always }];
    filter(&futex, libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_ALLOW, 0);
    (0..count).for_each(|i| producer.push(i).unwrap());
    // Its drop would close the queue, and wake everybody.
    mem::forget(producer);
}

#[test]
fn no_push_makes_one_while_the_consumer_lingers() {
    let name = "no_push_makes_one_while_the_consumer_lingers";
    let status = in_child(name, || push_to_one_that_lingers(63));
    assert!(status.success(), "{status}");
}

#[test]
fn the_push_that_ends_a_linger_makes_one() {
    let name = "the_push_that_ends_a_linger_makes_one";
    let status = in_child(name, || push_to_one_that_lingers(64));
    assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
}

#[test]
fn the_page_lists_them() {
    let page = include_str!("../docs/in_production.md");
    let (_, section) = page.split_once("### System calls, for filters that kill").unwrap();
    let (section, _) = section.split_once("###").unwrap();
    for (name, _) in OURS {
        assert!(section.contains(&format!("`{name}`")), "{name}");
    }
}
