//! Whether threads sleep for ever, as `/proc` has it. Without an allocation: see `watch`.

use std::io::Write;

/// A path, and the zeros after it.
type Path = [u8; 64];

fn path(arguments: std::fmt::Arguments<'_>) -> Path {
    let mut path = [0; 64];
    // They are all shorter.
    let _ = (&mut path[..63]).write_fmt(arguments);
    path
}

/// Whether all threads of a process do.
pub(super) fn all_sleep_unbounded(pid: libc::pid_t) -> bool {
    // As large as the kernel's entries of some tens of threads.
    let mut entries = [0; 2048];
    let length = read(&path(format_args!("/proc/{pid}/task")), |file| {
        // SAFETY: the address is valid for that length.
        unsafe { libc::syscall(libc::SYS_getdents64, file, entries.as_mut_ptr(), entries.len()) }
    });
    let mut rest = &entries[..length];
    let mut threads = 0;
    // In an entry, its length is after two numbers of 8 bytes, and the name after a type of 1.
    while let [_, .., _] = rest {
        let length = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
        let name = rest[19..length].split(|&byte| byte == 0).next().unwrap_or_default();
        if let Some(thread) = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()) {
            threads += 1;
            if !sleeps_unbounded(pid, thread) {
                return false;
            }
        }
        rest = &rest[length..];
    }
    threads != 0
}

/// Whether a thread is in a futex wait without a time at which it ends, or stopped for good.
pub(super) fn sleeps_unbounded(pid: libc::pid_t, thread: libc::pid_t) -> bool {
    let mut text = [0; 256];
    let length = read(&path(format_args!("/proc/{pid}/task/{thread}/syscall")), |file| {
        // SAFETY: the address is valid for that length.
        unsafe { libc::read(file, text.as_mut_ptr().cast(), text.len()) as libc::c_long }
    });
    let text = std::str::from_utf8(&text[..length]).unwrap_or_default();
    let mut words = text.split_ascii_whitespace();
    let number = words.next().and_then(|word| word.parse().ok());
    let mut argument = |place| {
        let word = words.nth(place)?.strip_prefix("0x")?;
        libc::c_long::from_str_radix(word, 16).ok()
    };
    let operation = argument(1).map(|word| word as libc::c_int & libc::FUTEX_CMD_MASK);
    let waits = matches!(operation, Some(libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET));
    match number {
        Some(libc::SYS_futex) => waits && argument(1) == Some(0),
        number => number == Some(libc::SYS_pause),
    }
}

/// Opens a file for `read`, and returns the length of what that read.
fn read(path: &Path, read: impl FnOnce(libc::c_int) -> libc::c_long) -> usize {
    // SAFETY: the path ends with a zero.
    let file = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY) };
    if file < 0 {
        return 0;
    }
    let length = read(file);
    // SAFETY: just opened, and this function's own.
    unsafe { libc::close(file) };
    length.max(0) as usize
}
