//! Single-stepping: a call runs one machine instruction at a time, and a function is called before
//! each of them.
//!
//! With the trap flag set the processor raises SIGTRAP after each instruction. The kernel clears
//! the flag for the handler, so that the handler is not stepped. A system call and the instruction
//! after it are one step.

use std::arch::asm;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::signals::{errno, install, set_errno};

const TRAP_FLAG: i64 = 0x100;

/// A moment before an instruction of a stepped call.
pub(crate) struct Step<'a> {
    /// How many instructions of the call came before.
    pub(crate) number: usize,
    registers: &'a mut [i64; 23],
}

impl Step<'_> {
    /// Lets the rest of the call run unstepped.
    pub(crate) fn let_go(&mut self) {
        self.registers[libc::REG_EFL as usize] &= !TRAP_FLAG;
    }

    /// The address of the instruction that is next.
    pub(crate) fn address(&self) -> usize {
        self.registers[libc::REG_RIP as usize] as usize
    }

    /// Whether the next instruction is in the kernel's code that reads the clock. If stepping makes
    /// it too slow, it tries again and again.
    pub(crate) fn is_in_vdso(&self) -> bool {
        const AT_SYSINFO_EHDR: libc::c_ulong = 33;
        // SAFETY: it has no preconditions.
        let start = unsafe { libc::getauxval(AT_SYSINFO_EHDR) } as usize;
        (start..start + 0x4000).contains(&self.address())
    }

    /// The first bytes of the next instruction, and maybe more.
    fn bytes<const N: usize>(&self) -> [u8; N] {
        // SAFETY: instructions can be read, and the last one of a mapping is not this near to its
        // end.
        unsafe { *(self.address() as *const [u8; N]) }
    }

    /// Whether the next instruction locks memory or is a fence.
    pub(crate) fn is_locked(&self) -> bool {
        match self.bytes::<3>() {
            [0xf0, ..] | [0x66, 0xf0, _] | [0x0f, 0xae, 0xf0] => true,
            // An exchange with memory locks by itself.
            [0x86 | 0x87, operands, _] | [0x40..=0x4f, 0x86 | 0x87, operands] => operands < 0xc0,
            _ => false,
        }
    }

    /// Whether the next instruction is a fence: `mfence`, or an `or` of the stack with nothing,
    /// which compilers put in its place.
    pub(crate) fn is_fence(&self) -> bool {
        matches!(
            self.bytes(),
            [0x0f, 0xae, 0xf0, _, _] | [0xf0, 0x83, 0x0c, 0x24, 0] | [0xf0, 0x83, 0x4c, 0x24, _]
        )
    }

    /// Whether the next instruction is a system call.
    pub(crate) fn is_system_call(&self) -> bool {
        matches!(self.bytes(), [0x0f, 0x05])
    }

    /// Whether the next instruction is a futex wait without a time at which it ends.
    pub(crate) fn is_going_to_sleep_unbounded(&self) -> bool {
        let register = |number| self.registers[number as usize];
        let operation = register(libc::REG_RSI) as libc::c_int & libc::FUTEX_CMD_MASK;
        self.is_system_call()
            && register(libc::REG_RAX) == libc::SYS_futex
            && matches!(operation, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET)
            && register(libc::REG_R10) == 0
    }

    /// Whether the next instruction is a system call that sleeps: a futex wait or a nap.
    pub(crate) fn is_going_to_sleep(&self) -> bool {
        let operation =
            self.registers[libc::REG_RSI as usize] as libc::c_int & !libc::FUTEX_PRIVATE_FLAG;
        self.is_system_call()
            && match self.registers[libc::REG_RAX as usize] {
                libc::SYS_futex => operation == libc::FUTEX_WAIT,
                number => number == libc::SYS_clock_nanosleep,
            }
    }
}

struct Stepping<'a> {
    steps: usize,
    /// Where the call returns to.
    end: usize,
    on_step: &'a mut dyn FnMut(&mut Step<'_>),
}

/// The one call that is being stepped in this process.
static STEPPING: AtomicPtr<Stepping<'static>> = AtomicPtr::new(ptr::null_mut());

extern "C" fn on_trap(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid `ucontext_t`.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: traps come only in `step`, which has set it.
    let stepping = unsafe { &mut *STEPPING.load(Ordering::Relaxed) };
    let registers = &mut context.uc_mcontext.gregs;
    if stepping.steps == 0 {
        // SAFETY: the call has just been made, so the stack begins with where it returns to.
        stepping.end = unsafe { *(registers[libc::REG_RSP as usize] as *const usize) };
    }
    let mut step = Step { number: stepping.steps, registers };
    if step.address() == stepping.end {
        return step.let_go();
    }
    stepping.steps += 1;
    let errno = errno();
    (stepping.on_step)(&mut step);
    set_errno(errno);
}

/// Runs `operation` with `on_step` before each of its instructions, and returns how many were
/// stepped.
///
/// Only one call at a time may be stepped in a process.
pub(crate) fn step(on_step: &mut dyn FnMut(&mut Step<'_>), operation: impl FnOnce()) -> usize {
    extern "C" fn call<F: FnOnce()>(operation: *const F) {
        // SAFETY: `run` passes a valid address, once, and forgets what is there.
        let operation = unsafe { operation.read() };
        operation();
    }
    fn run<F: FnOnce()>(operation: F) {
        let operation = std::mem::ManuallyDrop::new(operation);
        // SAFETY: an ordinary call, of a function that does not unwind. The first trap comes when
        // it has been made.
        unsafe {
            asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "call {}", in(reg) call::<F>,
                in("rdi") &raw const *operation, clobber_abi("C"));
        }
    }
    install(libc::SIGTRAP, on_trap as *const () as usize, libc::SA_SIGINFO);
    let mut stepping = Stepping { steps: 0, end: 0, on_step };
    STEPPING.store((&raw mut stepping).cast(), Ordering::Relaxed);
    run(operation);
    stepping.steps
}
