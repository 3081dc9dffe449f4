//! What this process has in memory.

use std::fs;

/// How many pages.
pub(crate) fn resident_pages() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

/// How many bytes.
#[allow(dead_code, reason = "each test file uses its own part of it")]
pub(crate) fn resident() -> usize {
    // SAFETY: it has no preconditions.
    resident_pages() * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize
}
