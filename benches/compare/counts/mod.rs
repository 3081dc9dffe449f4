//! How many instructions a call takes, and how many of them are locked: figures without noise.

mod calls;

use std::error::Error;

pub(crate) use calls::{CALLS, Counts};

use calls::Count;

const fn at_most(instructions: usize, locked: usize) -> Count {
    Count { instructions, locked }
}

/// What bywash may take. Change a figure when the code or the compiler has made it better, or when
/// it is worth what it costs.
const LIMITS: [Count; 4] = [at_most(42, 1), at_most(45, 0), at_most(49, 0), at_most(63, 0)];

/// Prints all counts. Fails where bywash takes more than it may.
pub(crate) fn check() -> Result<(), Box<dyn Error>> {
    let all = count_all();
    for Counts { name, calls } in &all {
        println!("{name}:");
        for (call, Count { instructions, locked }) in CALLS.iter().zip(calls) {
            println!("  {call}: {instructions} instructions, {locked} locked");
        }
    }
    let ours = all.first().ok_or("only x86-64 Linux can count")?;
    for ((call, count), limit) in CALLS.iter().zip(ours.calls).zip(LIMITS) {
        if count.instructions > limit.instructions || count.locked > limit.locked {
            return Err(format!("bywash's {call} takes {count:?}, and may take {limit:?}").into());
        }
        if count != limit {
            println!("bywash's {call} takes less than it may: write down {count:?}");
        }
    }
    Ok(())
}

pub(crate) use stepped::count_all;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod stepped {
    /// Of all queues, bywash first. None here.
    pub(crate) fn count_all() -> Vec<super::calls::Counts> {
        Vec::new()
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod stepped;
