//! What was pushed and popped in a try, and what must hold of it.

use super::board::{Verdict, board};
use super::queues::{Receiver, Sender, Subject};

/// The item of the call that is interrupted.
pub(crate) const OUTER: u64 = 100;
/// The first of those that are pushed meanwhile.
pub(crate) const NESTED: u64 = 200;
/// The first of those that are pushed when all is over.
pub(crate) const AFTER: u64 = 1000;

/// More than are ever in a queue.
const MANY: usize = 256;

/// A queue through which so many items have gone, with senders for three.
pub(crate) fn aged<Q: Subject>(
    capacity: usize,
    used: usize,
) -> ([Q::Sender<u64>; 3], Q::Receiver<u64>) {
    let (senders, mut receiver) = Q::bounded(capacity, 3);
    let Ok(mut senders) = <[_; 3]>::try_from(senders) else {
        unreachable!("as many as were asked for")
    };
    let [sender, ..] = &mut senders;
    for _ in 0..used {
        push(sender, AFTER);
        receiver.try_take();
        board().advance();
    }
    (senders, receiver)
}

pub(crate) fn push(sender: &mut impl Sender<u64>, item: u64) -> bool {
    let accepted = sender.try_put(item).is_ok();
    board().advance();
    accepted
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) capacity: usize,
    says_full: bool,
    /// How many were there before.
    pub(crate) before: usize,
    /// Whether the item of the interrupted call was accepted; `None`: that cannot be known.
    pub(crate) outer: Option<bool>,
    /// How many were accepted meanwhile.
    pub(crate) nested: usize,
    pub(crate) popped: Vec<u64>,
    /// Whether items were not there when they had to be.
    pub(crate) hidden: bool,
    /// Whether a push was refused though there was room.
    pub(crate) refused: bool,
}

impl Record {
    pub(crate) fn new<Q: Subject>(capacity: usize) -> Self {
        Self {
            capacity,
            says_full: Q::SAYS_FULL,
            before: 0,
            outer: Some(false),
            nested: 0,
            // What follows may be on top of an allocator that was interrupted.
            popped: Vec::with_capacity(2 * MANY),
            hidden: false,
            refused: false,
        }
    }

    pub(crate) fn fill(&mut self, sender: &mut impl Sender<u64>, count: usize) {
        self.before = count;
        for item in 0..count as u64 {
            self.refused |= !push(sender, item);
        }
    }

    /// Pushes the next one of those meanwhile.
    pub(crate) fn push_nested(&mut self, sender: &mut impl Sender<u64>) -> bool {
        let accepted = push(sender, NESTED + self.nested as u64);
        self.nested += usize::from(accepted);
        accepted
    }

    pub(crate) fn pop_all(&mut self, receiver: &mut impl Receiver<u64>) {
        while self.popped.len() < MANY {
            let Some(item) = receiver.try_take() else { break };
            self.popped.push(item);
            board().advance();
        }
    }

    /// Whether the queue still has room for as many as at first.
    pub(crate) fn use_again(
        &mut self,
        sender: &mut impl Sender<u64>,
        receiver: &mut impl Receiver<u64>,
    ) {
        for number in 0..self.capacity as u64 {
            self.refused |= !push(sender, AFTER + number);
        }
        let before = self.popped.len();
        self.pop_all(receiver);
        let found = self.popped.drain(before..);
        self.hidden |= !found.eq(AFTER..AFTER + self.capacity as u64);
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let count = |item| self.popped.iter().filter(|&&popped| popped == item).count();
        let nested = NESTED..NESTED + self.nested as u64;
        let expected = || {
            let outer = self.outer.unwrap_or(false).then_some(OUTER);
            (0..self.before as u64).chain(nested.clone()).chain(outer)
        };
        let may_come = |&item: &u64| {
            expected().any(|expected| expected == item) || (item == OUTER && self.outer.is_none())
        };
        let lost = expected().filter(|&item| count(item) == 0).count();
        if self.popped.iter().any(|item| count(*item) > 1 || !may_come(item)) {
            Verdict::Doubled
        } else if lost > self.overflow() {
            if self.outer.is_none() { Verdict::Hidden } else { Verdict::Lost }
        } else if !self.is_in_order() {
            Verdict::Reordered
        } else if self.hidden {
            Verdict::Hidden
        } else if self.refused {
            Verdict::Refused
        } else {
            Verdict::Fine
        }
    }

    /// How many a queue that does not say whether it is full may drop.
    fn overflow(&self) -> usize {
        let pushed = self.before + usize::from(self.outer == Some(true)) + self.nested;
        if self.says_full { 0 } else { pushed.saturating_sub(self.capacity) }
    }

    /// The numbers were chosen so that all but the interrupted one must come in their order; and
    /// that one after those that were there before.
    fn is_in_order(&self) -> bool {
        let outer = self.popped.iter().position(|&item| item == OUTER);
        self.popped.iter().filter(|&&item| item != OUTER).is_sorted()
            && outer.is_none_or(|place| place >= self.before)
    }
}
