//! B4: how large a bypass has to be, so that a consumer which pushes while it handles items is
//! never refused. Every schedule of outside pushes and the consumer's steps is played, in one
//! thread; with `--cfg bywash_steps` also with outside pushes that are stopped halfway.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::thread;

use bywash::{Builder, Consumer, Producer, bounded};

/// An item that was pushed by the consumer, or one from outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Item {
    Own,
    Outside,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Slot {
    Holds(Item),
    /// Claimed by an outside push that has been stopped.
    Stopped,
    /// Popped ahead of a stopped push.
    Taken,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    PushOutside,
    /// Stops an outside push between its claim and its publishing.
    StopOutside,
    /// Lets the push go on that was stopped last.
    GoOn,
    Pop,
    /// Pushes an item for the first of the items that were popped and not handled.
    PushOwn,
    /// Ends the handling of that item.
    Handled,
}

#[derive(Clone, Copy)]
struct Case {
    capacity: usize,
    bypass: usize,
    /// How many pushes an item from outside causes, at most.
    pushes: usize,
    /// How many items are popped at once, at most.
    batch: usize,
}

/// What the queue and its consumer must look like. Indices count from the head of the ring, so that
/// there are finitely many states.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct State {
    ring: VecDeque<Slot>,
    /// The `after` of each entry.
    bypass: VecDeque<usize>,
    /// For each item that was popped and not handled, how many pushes it may still cause.
    popped: VecDeque<usize>,
}

impl State {
    fn moves(&self, case: Case) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.ring.len() < case.capacity {
            moves.push(Move::PushOutside);
            if cfg!(bywash_steps) {
                moves.push(Move::StopOutside);
            }
        }
        if self.ring.contains(&Slot::Stopped) {
            moves.push(Move::GoOn);
        }
        match self.popped.front() {
            None => moves.push(Move::Pop),
            Some(0) => moves.push(Move::Handled),
            Some(_) => moves.extend([Move::PushOwn, Move::Handled]),
        }
        moves
    }

    /// Takes the next item in order.
    fn pop(&mut self) -> Option<Item> {
        let published = self.ring.iter().position(|slot| matches!(slot, Slot::Holds(_)));
        let is_next = |&after: &usize| published.is_none_or(|index| index >= after);
        if self.bypass.front().is_some_and(is_next) {
            self.bypass.pop_front();
            return Some(Item::Own);
        }
        let slot = &mut self.ring[published?];
        let Slot::Holds(item) = *slot else { unreachable!("it was found") };
        *slot = Slot::Taken;
        while let Some(Slot::Taken) = self.ring.front() {
            self.ring.pop_front();
            self.bypass.iter_mut().for_each(|after| *after -= 1);
        }
        Some(item)
    }
}

/// A queue on which moves are played.
struct Game<'a> {
    case: Case,
    moves: Cell<&'a [Move]>,
    state: Cell<State>,
    consumer: Cell<Option<Consumer<Item>>>,
    producer: Producer<Item>,
}

/// A push of the consumer's was refused.
#[derive(Debug, PartialEq)]
struct Refused;

impl<'a> Game<'a> {
    fn play(case: Case, moves: &'a [Move]) -> Result<State, Refused> {
        let (producer, mut consumer) = Builder::new(case.capacity).bypass(case.bypass).build();
        consumer.bind();
        let game = Game {
            case,
            moves: Cell::new(moves),
            state: Cell::default(),
            consumer: Cell::new(Some(consumer)),
            producer,
        };
        let mut is_refused = Ok(());
        let mut end_state = State::default();
        game.go_on(&mut is_refused, &mut end_state);
        is_refused.map(|()| end_state)
    }

    /// Plays until the moves are at an end, where the state is kept in `end`, or until a push that
    /// was stopped goes on.
    fn go_on(&self, result: &mut Result<(), Refused>, end: &mut State) {
        while let Some((&next, rest)) = self.moves.get().split_first() {
            self.moves.set(rest);
            let mut state = self.state.take();
            match next {
                Move::PushOutside => {
                    self.push_outside();
                    state.ring.push_back(Slot::Holds(Item::Outside));
                }
                Move::StopOutside => state.ring.push_back(Slot::Stopped),
                Move::GoOn => {
                    let stopped = state.ring.iter().rposition(|&slot| slot == Slot::Stopped);
                    state.ring[stopped.unwrap()] = Slot::Holds(Item::Outside);
                }
                Move::Pop => self.pop(&mut state),
                Move::PushOwn => *result = self.push_own(&mut state),
                Move::Handled => _ = state.popped.pop_front(),
            }
            if rest.is_empty() {
                *end = state.clone();
            }
            self.state.set(state);
            match next {
                Move::StopOutside => self.stop_outside(result, end),
                Move::GoOn => return,
                _ => {}
            }
        }
    }

    fn push_outside(&self) {
        // On this thread, which is the consumer's; it does not take the bypass.
        self.producer.try_push_within(Item::Outside, self.case.capacity).unwrap();
    }

    #[cfg(not(bywash_steps))]
    fn stop_outside(&self, _: &mut Result<(), Refused>, _: &mut State) {
        unreachable!("not among the moves");
    }

    /// Plays on where the push has claimed.
    #[cfg(bywash_steps)]
    fn stop_outside(&self, result: &mut Result<(), Refused>, end: &mut State) {
        let before = self.producer.len();
        let rest = std::cell::RefCell::new(Some((result, end)));
        bywash::steps::hooked(
            &|| {
                let has_claimed = self.producer.len() > before;
                if let Some((result, end)) = has_claimed.then(|| rest.take()).flatten() {
                    self.go_on(result, end);
                }
            },
            || self.push_outside(),
        );
        assert!(rest.take().is_none(), "it was not stopped");
    }

    fn pop(&self, state: &mut State) {
        let mut consumer = self.consumer.take().unwrap();
        let mut items = Vec::new();
        if self.case.batch == 1 {
            items.extend(consumer.try_pop());
        } else {
            let _ = consumer.try_pop_many(&mut items, self.case.batch);
        }
        self.consumer.set(Some(consumer));
        for &item in &items {
            assert_eq!(Some(item), state.pop());
            state.popped.push_back(if item == Item::Own { 0 } else { self.case.pushes });
        }
        assert!(!items.is_empty() || state.pop().is_none());
    }

    fn push_own(&self, state: &mut State) -> Result<(), Refused> {
        state.popped[0] -= 1;
        let bypassed = self.producer.bypassed();
        self.producer.push(Item::Own).map_err(|_| Refused)?;
        let is_full = state.ring.len() == self.case.capacity;
        assert_eq!(self.producer.bypassed() - bypassed, u64::from(is_full));
        if is_full {
            state.bypass.push_back(self.case.capacity);
        } else {
            state.ring.push_back(Slot::Holds(Item::Own));
        }
        Ok(())
    }
}

/// Reaches every state that there is, on a queue of its own each, and returns whether a push was
/// refused on the way.
fn some_schedule_is_refused(case: Case) -> bool {
    let mut seen = HashSet::from([State::default()]);
    let mut paths = VecDeque::from([(Vec::new(), State::default())]);
    while let Some((path, state)) = paths.pop_front() {
        for next in state.moves(case) {
            let path: Vec<Move> = path.iter().copied().chain([next]).collect();
            match Game::play(case, &path) {
                Err(Refused) => return true,
                Ok(state) if seen.insert(state.clone()) => paths.push_back((path, state)),
                Ok(_) => {}
            }
        }
    }
    println!(
        "{} items, {} pushes, {} at once: {} states",
        case.capacity,
        case.pushes,
        case.batch,
        seen.len()
    );
    false
}

/// States that a bypass of `bypass` slots is enough, and one with a slot less is not.
fn assert_is_exact(capacity: usize, pushes: usize, batch: usize, bypass: usize) {
    let refused = |bypass| some_schedule_is_refused(Case { capacity, bypass, pushes, batch });
    assert!(!refused(bypass), "refused with {bypass}: {capacity}, {pushes}, {batch}");
    assert!(refused(bypass - 1), "{} is enough: {capacity}, {pushes}, {batch}", bypass - 1);
}

#[test]
fn one_push_for_each_item_from_outside_takes_one_slot_more_than_the_capacity() {
    support::watch();
    for capacity in 1..=if cfg!(bywash_steps) { 3 } else { 5 } {
        assert_is_exact(capacity, 1, 1, capacity + 1);
    }
}

#[test]
fn some_pushes_for_each_item_take_so_many_times_the_slots() {
    support::watch();
    for (capacity, pushes) in [(1, 2), (1, 3), (2, 2), (2, 3), (3, 2)] {
        if !cfg!(bywash_steps) || capacity < 3 {
            assert_is_exact(capacity, pushes, 1, pushes * (capacity + 1));
        }
    }
}

#[test]
fn items_popped_at_once_and_handled_then_take_a_slot_more_each() {
    support::watch();
    for (capacity, pushes, batch) in [(2, 1, 2), (3, 1, 2), (3, 1, 3), (2, 2, 2)] {
        if !cfg!(bywash_steps) || capacity < 3 {
            assert_is_exact(capacity, pushes, batch, pushes * (capacity + batch));
        }
    }
}

/// Keeps the ring full, and pushes for each item from outside, for some laps.
fn push_for_each(producer: &Producer<Item>, consumer: &mut Consumer<Item>, push: impl Fn()) {
    consumer.bind();
    let capacity = producer.capacity();
    let fill = || while producer.try_push_within(Item::Outside, capacity).is_ok() {};
    fill();
    for _ in 0..10 * capacity {
        let item = consumer.try_pop().unwrap();
        fill();
        if item == Item::Outside {
            push();
        }
    }
    assert!(producer.bypassed() > 0);
}

#[test]
fn a_queue_as_it_is_built_by_default_takes_a_push_for_each_item() {
    support::watch();
    for capacity in (1..40).chain([100, 1000]) {
        let (producer, mut consumer) = bounded(capacity);
        push_for_each(&producer, &mut consumer, || producer.push(Item::Own).unwrap());
        let (producer, mut consumer) = Builder::new(capacity).build();
        push_for_each(&producer, &mut consumer, || producer.try_push(Item::Own).unwrap());
    }
}

#[test]
fn a_queue_as_it_is_built_by_default_takes_a_push_in_the_domain_for_each_item() {
    support::watch();
    for capacity in [1, 16, 17, 20] {
        let (producer, mut consumer) = bounded(capacity);
        let domain = consumer.domain();
        let push = || {
            let _inside = domain.enter();
            producer.push(Item::Own).unwrap();
        };
        push_for_each(&producer, &mut consumer, || {
            thread::scope(|scope| scope.spawn(push).join().unwrap());
        });
    }
}

#[test]
fn the_default_bypass_is_one_more_than_the_capacity_and_16_at_least() {
    for capacity in (1..40).chain([1000]) {
        let (producer, mut consumer) = bounded(capacity);
        consumer.bind();
        let taken = (0..).take_while(|_| producer.push(Item::Own).is_ok()).count();
        assert_eq!(taken, capacity + (capacity + 1).max(16));
    }
}

#[test]
fn a_consumer_that_pushes_for_each_item_is_not_refused_in_a_flood() {
    support::watch();
    let each = if cfg!(debug_assertions) { 2_000 } else { 50_000 };
    for (capacity, pushes) in
        [1, 2, 3, 4, 8, 16, 17, 64].into_iter().flat_map(|capacity| [(capacity, 1), (capacity, 3)])
    {
        let mut builder = Builder::new(capacity);
        if pushes > 1 {
            builder = builder.bypass(pushes * (capacity + 1));
        }
        let (producer, mut consumer) = builder.build();
        consumer.bind();
        thread::scope(|scope| {
            for _ in 0..3 {
                let producer = producer.clone();
                scope.spawn(move || (0..each).for_each(|_| producer.push(Item::Outside).unwrap()));
            }
            for _ in 0..3 * each * (1 + pushes) {
                if consumer.pop() == Ok(Item::Outside) {
                    (0..pushes).for_each(|_| producer.push(Item::Own).unwrap());
                }
            }
        });
        assert!(consumer.is_empty());
    }
}
