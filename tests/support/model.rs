//! A model of what the contract allows: a queue as a sequential program that is in all its possible
//! states at once.
//!
//! A call takes effect at a few moments between its invocation and its response, and the model does
//! not know these moments. So it keeps every state that some choice of moments leads to. A response
//! that no state allows is a violation.

use std::collections::BTreeSet;

pub(crate) type Item = u32;
pub(crate) type Id = usize;

/// The largest batch that can be popped, because no queue here has a larger ring.
pub(crate) const MOST: usize = 4;

/// The items of a batch that was popped, in order.
pub(crate) type Items = [Option<Item>; MOST];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// `inside`: whether the push may use the bypass. `limit`: how many items may be in the ring,
    /// this one included.
    Push {
        item: Item,
        inside: bool,
        limit: usize,
        then: Then,
    },
    /// Pushes `count` items, numbered from `first`. `waits`: where it would have to wait, it tries
    /// a single item, because it must not wait.
    PushMany {
        first: Item,
        count: usize,
        inside: bool,
        waits: bool,
    },
    Pop,
    /// At most so many.
    PopMany(usize),
    TakeLost,
    Close,
    Len,
    IsEmpty,
    IsFull,
}

/// What else a push does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Then {
    Nothing,
    /// If the queue refuses the item, the push counts it as lost.
    Count,
    /// The push returns whether its item has been popped from the ring.
    Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Done,
    Full,
    Closed,
    Empty,
    Item(Item),
    Items(Items),
    Count(usize),
    /// As `Full` and `Closed`, after so many items of a batch had been pushed.
    FullAfter(usize),
    ClosedAfter(usize),
    Is(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Claimed,
    Published(Item),
    /// Being taken: the item is gone, and the slot is still in use.
    Taking,
    /// Taken ahead of an earlier slot, and in use until that one is taken.
    Taken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Ring,
    Bypass,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Start,
    /// The first lane is done, the other is not.
    Half,
    /// The ring was full when so many slots had been claimed.
    SawFull(usize),
    Claimed(Lane, usize),
    Published(Lane, usize),
    /// Not counted yet.
    Refused,
    /// Refused when so many slots had been claimed.
    RefusedAfter(usize),
    /// Has its place among the lost, and is not counted yet.
    Placed,
    Taking(Lane, usize, Item),
    Pushing(Batch),
    /// So many items lay in a row at the head of the ring.
    SawRow(usize),
    TakingRow(usize, Items),
    /// How many slots had been released.
    Counting(usize),
    /// Takes the place of the lost items next, and then their count.
    TakingPlace,
    TakingCount,
    End(Answer),
}

/// The items that were refused and counted, and whose count was not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Lost {
    count: usize,
    /// How many slots of the ring had been claimed when the first item was refused.
    after: Option<usize>,
}

/// How far the push of a batch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Batch {
    /// How many items have a claimed slot, and how many of those were published.
    claimed: usize,
    published: usize,
    /// Where the next item with a claimed slot goes.
    place: Option<(Lane, usize)>,
    /// The ring was full when so many slots had been claimed.
    saw_full: Option<usize>,
    /// When so many slots had been claimed, there was room for so many of the other items.
    saw_room: Option<(usize, usize)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Slots {
    capacity: usize,
    closed: bool,
    released: usize,
    /// The slots in use, each with how many items of the ring come before its item.
    used: Vec<(usize, Slot)>,
}

impl Slots {
    fn claimed(&self) -> usize {
        self.released + self.used.len()
    }

    fn is_full(&self) -> bool {
        self.used.len() == self.capacity
    }

    /// Whether what was published at `index` has been popped.
    fn is_taken(&self, index: usize) -> bool {
        index < self.released || self.used[index - self.released].1 == Slot::Taken
    }

    fn claim(&mut self, after: usize) -> usize {
        self.used.push((after, Slot::Claimed));
        self.claimed() - 1
    }

    fn set(&mut self, index: usize, slot: Slot) {
        self.used[index - self.released].1 = slot;
    }

    /// Marks `index` taken, and frees what need not be in use any more.
    fn release(&mut self, index: usize) {
        self.set(index, Slot::Taken);
        let free = self.used.iter().take_while(|(_, slot)| *slot == Slot::Taken).count();
        self.used.drain(..free);
        self.released += free;
    }

    /// The published items in a row from the head on, `most` at most.
    fn row(&self, most: usize) -> Items {
        let row = self.used.iter().take(most).map_while(|&(_, slot)| match slot {
            Slot::Published(item) => Some(item),
            _ => None,
        });
        let mut row = row.fuse();
        std::array::from_fn(|_| row.next())
    }

    /// The first published item: its index, how many items of the ring come before it, and itself.
    fn first(&self) -> Option<(usize, usize, Item)> {
        self.used.iter().enumerate().find_map(|(i, &(after, slot))| match slot {
            Slot::Published(item) => Some((self.released + i, after, item)),
            _ => None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    ring: Slots,
    bypass: Slots,
    lost: Lost,
    calls: Vec<(Id, Call, Phase)>,
}

impl State {
    fn lane(&mut self, lane: Lane) -> &mut Slots {
        match lane {
            Lane::Ring => &mut self.ring,
            Lane::Bypass => &mut self.bypass,
        }
    }

    /// Takes the next step of the call at `place`. Returns false if it has none. If `few`, a batch
    /// that may take a row takes one item instead.
    fn advance(&mut self, place: usize, few: bool) -> bool {
        let (_, call, phase) = self.calls[place];
        if let Phase::End(_) = phase {
            return false;
        }
        self.calls[place].2 = match call {
            Call::Push { item, inside, limit, then } => match self.push(item, inside, limit, phase)
            {
                Phase::Published(..) if then != Then::Look => Phase::End(Answer::Done),
                Phase::Refused if then != Then::Count => Phase::End(Answer::Full),
                phase => phase,
            },
            Call::PushMany { first, count, inside, waits } => match phase {
                Phase::Pushing(batch) => self.push_many(batch, first, count, inside, waits),
                _ => self.push_many(Batch::default(), first, count, inside, waits),
            },
            Call::Pop => self.pop(phase),
            Call::PopMany(most) => self.pop_many(most, few, phase),
            Call::TakeLost => self.take_lost(phase),
            Call::Close => {
                self.ring.closed = true;
                Phase::End(Answer::Done)
            }
            Call::Len => self.count(phase),
            Call::IsEmpty => self.is_empty(phase),
            Call::IsFull => Phase::End(Answer::Is(self.ring.is_full())),
        };
        true
    }

    fn push(&mut self, item: Item, inside: bool, limit: usize, phase: Phase) -> Phase {
        match phase {
            Phase::Claimed(lane, index) => {
                self.lane(lane).set(index, Slot::Published(item));
                Phase::Published(lane, index)
            }
            // The push does not wait for an item in the bypass.
            Phase::Published(lane, index) => {
                Phase::End(Answer::Is(lane == Lane::Ring && self.ring.is_taken(index)))
            }
            Phase::Refused => Phase::RefusedAfter(self.ring.claimed()),
            Phase::RefusedAfter(tail) => {
                self.lost.after.get_or_insert(tail);
                Phase::Placed
            }
            Phase::Placed => {
                self.lost.count += 1;
                Phase::End(Answer::Full)
            }
            Phase::SawFull(_) if self.bypass.closed => Phase::End(Answer::Closed),
            Phase::SawFull(_) if self.bypass.is_full() => Phase::Refused,
            Phase::SawFull(after) => Phase::Claimed(Lane::Bypass, self.bypass.claim(after)),
            _ if self.ring.closed => Phase::End(Answer::Closed),
            _ if self.ring.used.len() < limit.min(self.ring.capacity) => {
                Phase::Claimed(Lane::Ring, self.ring.claim(0))
            }
            _ if inside => Phase::SawFull(self.ring.claimed()),
            _ => Phase::Refused,
        }
    }

    /// Takes all or nothing: nothing while an item can be popped that was pushed before the first
    /// lost one. It takes the place and then the count, so an item lost in between may be reported
    /// with those before it or after it.
    fn take_lost(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::TakingPlace => {
                self.lost.after = None;
                Phase::TakingCount
            }
            Phase::TakingCount => Phase::End(Answer::Count(std::mem::take(&mut self.lost.count))),
            _ if self.lost.count == 0
                || self.lost.after.is_some_and(|tail| self.has_before(tail)) =>
            {
                Phase::End(Answer::Count(0))
            }
            _ => Phase::TakingPlace,
        }
    }

    /// Whether the next item comes before the index `tail` of the ring.
    fn has_before(&self, tail: usize) -> bool {
        match self.next() {
            Some((Lane::Ring, index, _)) => index < tail,
            Some((Lane::Bypass, index, _)) => {
                self.bypass.used[index - self.bypass.released].0 <= tail
            }
            None => false,
        }
    }

    /// The item that is next in order, and where it is.
    fn next(&self) -> Option<(Lane, usize, Item)> {
        match (self.ring.first(), self.bypass.first()) {
            (Some((index, _, item)), Some((_, after, _))) if index < after => {
                Some((Lane::Ring, index, item))
            }
            (Some((index, _, item)), None) => Some((Lane::Ring, index, item)),
            (_, bypassed) => bypassed.map(|(index, _, item)| (Lane::Bypass, index, item)),
        }
    }

    /// Looks how much room there is, claims it at once if no other call has claimed since, and
    /// publishes the items one by one. Then goes on with the rest: in the ring, or, if the ring was
    /// full, in the bypass.
    fn push_many(
        &mut self,
        mut batch: Batch,
        first: Item,
        count: usize,
        inside: bool,
        waits: bool,
    ) -> Phase {
        if let Some((lane, index)) = batch.place {
            self.lane(lane).set(index, Slot::Published(first + batch.published as Item));
            batch.published += 1;
            batch.place = (batch.published < batch.claimed).then_some((lane, index + 1));
            return Phase::Pushing(batch);
        }
        let left = count - batch.claimed;
        if left == 0 {
            return Phase::End(if waits { Answer::Done } else { Answer::Count(count) });
        }
        let (lane, after) = batch.saw_full.map_or((Lane::Ring, 0), |after| (Lane::Bypass, after));
        let slots = self.lane(lane);
        let room = slots.capacity - slots.used.len();
        if slots.closed {
            return Phase::End(match batch.claimed {
                claimed if waits => Answer::ClosedAfter(claimed),
                0 => Answer::Closed,
                claimed => Answer::Count(claimed),
            });
        }
        if room == 0 && lane == Lane::Ring && inside {
            return Phase::Pushing(Batch {
                saw_full: Some(slots.claimed()),
                saw_room: None,
                ..batch
            });
        }
        if room == 0 {
            return Phase::End(match batch.claimed {
                claimed if waits => Answer::FullAfter(claimed),
                0 => Answer::Full,
                claimed => Answer::Count(claimed),
            });
        }
        let index = slots.claimed();
        let Some((_, now)) = batch.saw_room.filter(|&(claimed, _)| claimed == index) else {
            let now = room.min(left);
            return Phase::Pushing(Batch { saw_room: Some((index, now)), ..batch });
        };
        (0..now).for_each(|_| _ = slots.claim(after));
        let (claimed, published) = (batch.claimed + now, batch.published);
        Phase::Pushing(Batch { claimed, published, place: Some((lane, index)), ..Batch::default() })
    }

    /// Counts the published items in a row at the head of the ring. If the bypass is empty after
    /// that, takes them all and frees their slots at once. Otherwise takes the next item.
    fn pop_many(&mut self, most: usize, few: bool, phase: Phase) -> Phase {
        let count = |row: Items| row.iter().flatten().count();
        match phase {
            Phase::Start if most == 0 => Phase::End(Answer::Items([None; MOST])),
            Phase::Start => Phase::SawRow(count(self.ring.row(most))),
            Phase::SawRow(seen) if seen > 0 && !few && self.bypass.used.is_empty() => {
                let (row, head) = (self.ring.row(seen), self.ring.released);
                (head..head + seen).for_each(|index| self.ring.set(index, Slot::Taking));
                Phase::TakingRow(head, row)
            }
            Phase::TakingRow(head, row) => {
                (head..head + count(row)).for_each(|index| self.ring.release(index));
                Phase::End(Answer::Items(row))
            }
            _ => match self.pop(phase) {
                Phase::End(Answer::Item(item)) => {
                    Phase::End(Answer::Items(std::array::from_fn(|i| (i == 0).then_some(item))))
                }
                phase => phase,
            },
        }
    }

    fn pop(&mut self, phase: Phase) -> Phase {
        if let Phase::Taking(lane, index, item) = phase {
            self.lane(lane).release(index);
            return Phase::End(Answer::Item(item));
        }
        if phase == Phase::Half {
            self.bypass.closed = true;
            let is_over = self.bypass.used.is_empty();
            return Phase::End(if is_over { Answer::Closed } else { Answer::Empty });
        }
        match self.next() {
            Some((lane, index, item)) => {
                self.lane(lane).set(index, Slot::Taking);
                Phase::Taking(lane, index, item)
            }
            // The consumer closes the bypass then.
            None if self.ring.closed && self.ring.used.is_empty() => Phase::Half,
            None => Phase::End(Answer::Empty),
        }
    }

    /// The length is how many slots had been claimed at one moment, less how many had been released
    /// at an earlier one.
    fn count(&self, phase: Phase) -> Phase {
        match phase {
            Phase::Counting(released) => {
                Phase::End(Answer::Count((self.ring.claimed() - released).min(self.ring.capacity)))
            }
            _ => Phase::Counting(self.ring.released),
        }
    }

    /// Looks at each lane at a moment of its own.
    fn is_empty(&self, phase: Phase) -> Phase {
        match phase {
            Phase::Half => Phase::End(Answer::Is(self.bypass.used.is_empty())),
            _ if self.ring.used.is_empty() => Phase::Half,
            _ => Phase::End(Answer::Is(false)),
        }
    }
}

/// An event, printed for the reader of a violation.
#[derive(Debug)]
#[allow(dead_code, reason = "it is only printed")]
enum Event {
    Invoked(Id, Call),
    Responded(Id, Vec<Answer>),
}

#[derive(Debug)]
pub(crate) struct Model {
    states: Vec<State>,
    calls: Id,
    log: Vec<Event>,
}

impl Model {
    pub(crate) fn new(capacity: usize, bypass: usize) -> Self {
        let slots = |capacity| Slots { capacity, ..Slots::default() };
        let (ring, bypass) = (slots(capacity), slots(bypass));
        let state = State { ring, bypass, lost: Lost::default(), calls: Vec::new() };
        Self { states: vec![state], calls: 0, log: Vec::new() }
    }

    /// Records that a call begins.
    pub(crate) fn invoke(&mut self, call: Call) -> Id {
        let id = self.calls;
        self.calls += 1;
        self.log.push(Event::Invoked(id, call));
        self.states.iter_mut().for_each(|state| state.calls.push((id, call, Phase::Start)));
        id
    }

    /// Records that a call has ended with one of `answers`.
    ///
    /// # Panics
    ///
    /// If the contract does not allow any of them.
    pub(crate) fn respond(&mut self, id: Id, answers: &[Answer]) {
        self.log.push(Event::Responded(id, answers.to_vec()));
        match &mut self.states[..] {
            // If no other call is in flight, this one has no choice but the size of a batch.
            [state] if matches!(state.calls[..], [(_, call, _)] if !matches!(call, Call::PopMany(_))) => {
                while state.advance(0, false) {}
            }
            _ => {}
        }
        self.let_time_pass(id, answers);
        if self.states.is_empty() {
            self.log.iter().for_each(|event| eprintln!("{event:?}"));
            panic!("the contract allows no such response as the last one above");
        }
    }

    /// Keeps the states that the calls in flight may lead to when `id` has just ended with one of
    /// `answers`.
    fn let_time_pass(&mut self, id: Id, answers: &[Answer]) {
        let mut todo = std::mem::take(&mut self.states);
        let mut seen: BTreeSet<_> = todo.iter().cloned().collect();
        while let Some(mut state) = todo.pop() {
            let place = state.calls.iter().position(|call| call.0 == id).expect("it was invoked");
            if let Phase::End(answer) = state.calls[place].2 {
                if answers.contains(&answer) {
                    state.calls.remove(place);
                    self.states.push(state);
                }
                continue;
            }
            for (place, &(_, _, phase)) in state.calls.iter().enumerate() {
                for few in [false, true].into_iter().take(if matches!(phase, Phase::SawRow(_)) {
                    2
                } else {
                    1
                }) {
                    let mut next = state.clone();
                    if next.advance(place, few) && seen.insert(next.clone()) {
                        todo.push(next);
                    }
                }
            }
        }
    }
}
