//! What those know of a queue who do not know its items: its indices and its members.

use crate::domain::Members;
use crate::ring::{Head, Tail};
use crate::sync::{CachePadded, const_fn};

/// The part of a queue that is the same whatever its items are. In memory: a cache line
/// that producers write, one that the consumer writes, and what is mostly read.
#[repr(C)]
#[allow(missing_debug_implementations, unreachable_pub, reason = "no user can name it")]
pub struct Node {
    pub(crate) tail: CachePadded<Tail>,
    pub(crate) head: CachePadded<Head>,
    pub(crate) members: Members,
}

impl Node {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                tail: CachePadded::new(Tail::new()),
                head: CachePadded::new(Head::new()),
                members: Members::new(),
            }
        }
    }
}
