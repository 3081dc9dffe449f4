//! What loom cannot tell: the orderings of this crate on the machines that it runs on, with store
//! buffers, loads that are performed early, and `membarrier`.
//!
//! [`explorer`] runs small programs in every way that a machine allows; its essay says how, and why
//! nothing is missed. [`machine`] says what each machine keeps in order, [`program`] what programs
//! are made of. [`litmus`] shows that the verdicts of the explorer are those of the literature.
#![cfg(not(any(loom, bywash_steps)))]

mod explorer;
mod litmus;
mod machine;
mod program;
