//! What the tests of interruptions share. Each uses a part of it.

pub(crate) mod cases;
pub(crate) mod child;
#[cfg(target_arch = "x86_64")]
pub(crate) mod freeze;
pub(crate) mod ledger;
pub(crate) mod play;
#[path = "../signals.rs"]
pub(crate) mod signals;
pub(crate) mod sleeper;
#[cfg(target_arch = "x86_64")]
pub(crate) mod trap;
