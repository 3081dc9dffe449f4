//! What the tests of interruptions share. Each uses some of it.

#[path = "step_cases.rs"]
pub(crate) mod cases;
#[path = "step_child.rs"]
pub(crate) mod child;
#[cfg(target_arch = "x86_64")]
#[path = "step_freeze.rs"]
pub(crate) mod freeze;
#[path = "step_ledger.rs"]
pub(crate) mod ledger;
#[path = "step_play.rs"]
pub(crate) mod play;
#[path = "signals.rs"]
pub(crate) mod signals;
#[path = "step_sleeper.rs"]
pub(crate) mod sleeper;
#[cfg(target_arch = "x86_64")]
#[path = "step_trap.rs"]
pub(crate) mod trap;
