//! Filters of system calls.

use std::mem;

/// A system call.
pub(crate) struct Rule {
    pub(crate) call: libc::c_long,
    pub(crate) when: When,
}

#[allow(dead_code, reason = "each test file uses its own part of it")]
pub(crate) enum When {
    Always,
    /// The argument of this number is this, or has this bit. Of 64 bits this is the low half.
    Equals(usize, u32),
    HasBit(usize, u32),
}

/// From here on such system calls of this thread, and of those that it starts, end in `action`, and
/// all others in `otherwise`. The flags are those of `seccomp`.
pub(crate) fn filter(rules: &[Rule], action: u32, otherwise: u32, flags: libc::c_ulong) {
    let statement = |code, value| libc::sock_filter { code, jt: 0, jf: 0, k: value };
    let load =
        |place: usize| statement((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, place as u32);
    let number = || load(mem::offset_of!(libc::seccomp_data, nr));
    let argument = |index: usize| {
        let big_endian = if cfg!(target_endian = "big") { 4 } else { 0 };
        load(mem::offset_of!(libc::seccomp_data, args) + 8 * index + big_endian)
    };
    let unless_skip = |test: u32, value: u32, skip: u8| libc::sock_filter {
        code: (libc::BPF_JMP | test | libc::BPF_K) as u16,
        jt: 0,
        jf: skip,
        k: value,
    };
    let end = |action: u32| statement((libc::BPF_RET | libc::BPF_K) as u16, action);
    let mut filter = vec![number()];
    for Rule { call, when } in rules {
        let (test, index, value) = match *when {
            When::Always => {
                filter.extend([unless_skip(libc::BPF_JEQ, *call as u32, 1), end(action)]);
                continue;
            }
            When::Equals(index, value) => (libc::BPF_JEQ, index, value),
            When::HasBit(index, value) => (libc::BPF_JSET, index, value),
        };
        filter.extend([
            unless_skip(libc::BPF_JEQ, *call as u32, 4),
            argument(index),
            unless_skip(test, value, 1),
            end(action),
            number(),
        ]);
    }
    filter.push(end(otherwise));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: it takes no addresses.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program is valid for the call.
    assert_eq!(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &program) }, 0);
}
