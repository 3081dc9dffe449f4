//! What is counted.

/// What one call took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) instructions: usize,
    pub(crate) locked: usize,
}

/// What the calls of [`CALLS`] took.
pub(crate) struct Counts {
    pub(crate) name: &'static str,
    pub(crate) calls: [Count; 4],
}

pub(crate) const CALLS: [&str; 4] = ["push", "pop", "push when full", "pop when empty"];
