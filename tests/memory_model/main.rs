//! What loom cannot tell: the orderings of this crate on the machines that it runs on, with store
//! buffers, loads that are performed early, and `membarrier`.
//!
//! [`explorer`] runs small programs in every way that a machine allows; its essay says how, and why
//! nothing is missed. [`machine`] says what each machine keeps in order, [`program`] what programs
//! are made of. [`litmus`] shows that the verdicts of the explorer are those of the literature.
//! [`wait`] and [`ring`] are the protocols of `src/`, operation by operation, under the labels of
//! their ordering tables; `sleeping` and `full` say what must never happen to them,
//! and what does as soon as an ordering is weakened. `binding` and `graph` have their protocols
//! with them. A change of an atomic operation in `src/` changes it here, too.
#![cfg(not(any(bywash_loom, bywash_steps)))]

mod binding;
mod explorer;
mod full;
mod graph;
mod litmus;
mod machine;
mod program;
mod ring;
mod sleeping;
mod wait;
