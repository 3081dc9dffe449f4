//! What the tests of interruptions share. Each uses a part of it.

pub(crate) mod cases;
pub(crate) mod child;
#[path = "../filters.rs"]
pub(crate) mod filters;
#[cfg(target_arch = "x86_64")]
pub(crate) mod freeze;
pub(crate) mod ledger;
#[path = "../pin.rs"]
pub(crate) mod pin;
pub(crate) mod play;
#[path = "../resident.rs"]
pub(crate) mod resident;
#[path = "../signals.rs"]
pub(crate) mod signals;
pub(crate) mod sleeper;
#[cfg(target_arch = "x86_64")]
pub(crate) mod trap;
