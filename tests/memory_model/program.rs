//! What a thread does: operations on shared memory, and a little arithmetic and control flow
//! between them.
//!
//! A program is put together from [`Code`], which reads as the code that it stands for: [`load`],
//! [`compare_exchange`], [`when`], [`repeat`] … Jumps are relative, so pieces can be used anywhere.

use std::rc::Rc;

pub(crate) type Word = u32;

/// A register of a thread. Each thread has its own, all 0 at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reg {
    A,
    B,
    C,
    D,
    Result,
    Announced,
    FirstResult,
    Found,
    Head,
    Index,
    Limit,
    News,
    Now,
    Popped,
    Registered,
    Round,
    Stamp,
    Sure,
    Tail,
    Woken,
}

impl Reg {
    pub(crate) const COUNT: usize = Self::Woken as usize + 1;
}

/// The registers that are asked for at the end.
const OUTCOME: [Reg; 5] = [Reg::A, Reg::B, Reg::C, Reg::D, Reg::Result];

/// A place in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    X,
    Y,
    Z,
    Tail,
    Limit,
    Head,
    Stamp0,
    Stamp1,
    /// The word that the consumer sleeps on.
    Asleep,
    /// The tail index that ends a linger.
    End,
    Registered,
    /// The word that producers sleep on.
    Room,
    Descriptor,
    /// The number of the descriptor, 0 if there is none.
    Number,
    Tickets,
    /// The number of the consumer's thread.
    Consumer,
    /// The process in which it was bound.
    Process,
    /// The number in a record.
    Owner,
    /// The words of edges.
    Edge1,
    Edge2,
    Edge3,
    /// The head in a post.
    PostHead,
    Turn,
    /// The stack of a pool.
    Free,
}

impl Place {
    pub(crate) const COUNT: usize = Self::Free as usize + 1;
}

/// `core`'s orderings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ordering {
    Relaxed,
    Acquire,
    Release,
    AcqRel,
    SeqCst,
}

type Compute = dyn Fn(&[Word]) -> Word;

/// A value computed from registers. Whatever uses it depends on all of them.
#[derive(Clone)]
pub(crate) struct Expr {
    pub(crate) needs: Vec<Reg>,
    compute: Rc<Compute>,
}

impl Expr {
    pub(crate) fn compute(&self, registers: &[Word]) -> Word {
        (self.compute)(registers)
    }
}

/// The value of `compute`, which gets the values of `needs`.
pub(crate) fn of<const N: usize>(
    needs: [Reg; N],
    compute: impl Fn([Word; N]) -> Word + 'static,
) -> Expr {
    Expr {
        needs: needs.to_vec(),
        compute: Rc::new(move |values| compute(values.try_into().expect("one for each"))),
    }
}

impl From<Word> for Expr {
    fn from(value: Word) -> Self {
        of([], move |[]| value)
    }
}

impl From<Reg> for Expr {
    fn from(register: Reg) -> Self {
        of([register], |[value]| value)
    }
}

/// A condition on registers.
pub(crate) fn is<const N: usize>(
    needs: [Reg; N],
    holds: impl Fn([Word; N]) -> bool + 'static,
) -> Expr {
    of(needs, move |values| Word::from(holds(values)))
}

#[derive(Clone)]
pub(crate) enum Action {
    Load {
        to: Reg,
        at: Place,
        order: Ordering,
    },
    Store {
        at: Place,
        value: Expr,
        order: Ordering,
    },
    /// Reads the old value into `to`, and writes `new`, for which `to` is known already. Where
    /// `expected` is given, it writes only if that is the old value, and else is no more than a
    /// load with the order `failure`.
    Exchange {
        to: Reg,
        at: Place,
        expected: Option<Expr>,
        new: Expr,
        order: Ordering,
        failure: Ordering,
    },
    /// A sequentially consistent fence.
    Fence,
    /// An Acquire fence.
    ReadFence,
    /// A full fence here, and one in each other thread, wherever it happens to be.
    Membarrier,
    Set {
        to: Reg,
        value: Expr,
    },
    /// Goes on after `skip` more operations where `condition` is 0. Without `skip`, executions in
    /// which it is 0 are not looked at.
    Unless {
        condition: Expr,
        skip: Option<isize>,
    },
    Jump {
        skip: isize,
    },
    /// Sleeps if `at` is still `expected`, until woken; as a nap, perhaps not so long.
    Sleep {
        at: Place,
        expected: Expr,
        is_nap: bool,
    },
    /// Wakes one that sleeps on `at`, or all.
    Wake {
        at: Place,
        all: bool,
    },
}

#[derive(Clone)]
pub(crate) struct Op {
    pub(crate) action: Action,
    /// What the ordering table calls it.
    pub(crate) label: &'static str,
    /// What must be known for the place to be known, in a litmus test of that dependency.
    pub(crate) address: Option<Reg>,
    /// Marks a branch that asks whether the exchange before it has succeeded.
    pub(crate) is_about_exchange: bool,
    /// Marks a jump to the end of the enclosing `repeat`, until that is put together.
    is_break: bool,
}

impl Op {
    /// The registers that it needs, and the one that it writes.
    fn registers(&self) -> (Vec<Reg>, Option<Reg>) {
        let needs = |exprs: &[&Expr]| exprs.iter().flat_map(|expr| expr.needs.clone()).collect();
        let (mut needs, writes): (Vec<Reg>, _) = match &self.action {
            Action::Load { to, .. } => (vec![], Some(*to)),
            Action::Store { value, .. } => (needs(&[value]), None),
            Action::Exchange { to, expected: Some(expected), new, .. } => {
                (needs(&[expected, new]), Some(*to))
            }
            // `new` is computed from what it reads.
            Action::Exchange { to, new, .. } => {
                (needs(&[new]).into_iter().filter(|need| need != to).collect(), Some(*to))
            }
            Action::Set { to, value } => (needs(&[value]), Some(*to)),
            Action::Unless { condition: expr, .. } | Action::Sleep { expected: expr, .. } => {
                (needs(&[expr]), None)
            }
            _ => (vec![], None),
        };
        needs.extend(self.address);
        (needs, writes)
    }

    /// Where it may go on, from `index`.
    fn successors(&self, index: usize) -> Vec<usize> {
        let after = |skip: isize| index.wrapping_add_signed(1 + skip);
        match self.action {
            Action::Unless { skip: Some(skip), .. } => vec![after(0), after(skip)],
            Action::Jump { skip } => vec![after(skip)],
            _ => vec![after(0)],
        }
    }

    /// Where it reads or writes.
    pub(crate) fn place(&self) -> Option<Place> {
        match self.action {
            Action::Load { at, .. } | Action::Store { at, .. } | Action::Exchange { at, .. } => {
                Some(at)
            }
            _ => None,
        }
    }
}

/// A piece of a program.
#[derive(Clone)]
pub(crate) struct Code(pub(crate) Vec<Op>);

impl Code {
    fn one(action: Action) -> Self {
        Self(vec![Op {
            action,
            label: "",
            address: None,
            is_about_exchange: false,
            is_break: false,
        }])
    }

    /// Names the (only) operation.
    pub(crate) fn labelled(mut self, label: &'static str) -> Self {
        self.0[0].label = label;
        self
    }

    /// Lets the place of the (only) operation depend on a register.
    pub(crate) fn address_from(mut self, register: Reg) -> Self {
        self.0[0].address = Some(register);
        self
    }

    fn len(&self) -> isize {
        self.0.len() as isize
    }
}

/// One after the other.
pub(crate) fn seq<const N: usize>(parts: [Code; N]) -> Code {
    Code(parts.into_iter().flat_map(|part| part.0).collect())
}

pub(crate) fn nothing() -> Code {
    seq([])
}

pub(crate) fn load(to: Reg, at: Place, order: Ordering) -> Code {
    Code::one(Action::Load { to, at, order })
}

pub(crate) fn store(at: Place, value: impl Into<Expr>, order: Ordering) -> Code {
    Code::one(Action::Store { at, value: value.into(), order })
}

/// `swap`, and, with a value computed from `to`, `fetch_add`, `fetch_or` …
pub(crate) fn exchange(to: Reg, at: Place, new: impl Into<Expr>, order: Ordering) -> Code {
    let new = new.into();
    Code::one(Action::Exchange { to, at, expected: None, new, order, failure: order })
}

pub(crate) fn fetch_add(to: Reg, at: Place, what: Word, order: Ordering) -> Code {
    exchange(to, at, of([to], move |[old]| old.wrapping_add(what)), order)
}

/// The old value goes to `to`. It has succeeded if that is what was expected.
pub(crate) fn compare_exchange(
    to: Reg,
    at: Place,
    expected: impl Into<Expr>,
    new: impl Into<Expr>,
    order: Ordering,
    failure: Ordering,
) -> Code {
    let (expected, new) = (Some(expected.into()), new.into());
    Code::one(Action::Exchange { to, at, expected, new, order, failure })
}

pub(crate) fn fence() -> Code {
    Code::one(Action::Fence)
}

pub(crate) fn acquire_fence() -> Code {
    Code::one(Action::ReadFence)
}

/// Nothing, once compiled.
pub(crate) fn compiler_fence() -> Code {
    nothing()
}

pub(crate) fn membarrier() -> Code {
    Code::one(Action::Membarrier)
}

pub(crate) fn set(to: Reg, value: impl Into<Expr>) -> Code {
    Code::one(Action::Set { to, value: value.into() })
}

pub(crate) fn sleep(at: Place, expected: impl Into<Expr>) -> Code {
    Code::one(Action::Sleep { at, expected: expected.into(), is_nap: false })
}

pub(crate) fn nap(at: Place, expected: impl Into<Expr>) -> Code {
    Code::one(Action::Sleep { at, expected: expected.into(), is_nap: true })
}

pub(crate) fn wake_one(at: Place) -> Code {
    Code::one(Action::Wake { at, all: false })
}

pub(crate) fn wake_all(at: Place) -> Code {
    Code::one(Action::Wake { at, all: true })
}

/// Waits until it is so. Only executions in which that comes are looked at.
pub(crate) fn until(condition: Expr) -> Code {
    Code::one(Action::Unless { condition, skip: None })
}

pub(crate) fn when(condition: Expr, then: Code) -> Code {
    when_else(condition, then, nothing())
}

pub(crate) fn when_else(condition: Expr, then: Code, otherwise: Code) -> Code {
    let end = match otherwise.len() {
        0 => nothing(),
        skip => Code::one(Action::Jump { skip }),
    };
    let skip = Some(then.len() + end.len());
    seq([Code::one(Action::Unless { condition, skip }), then, end, otherwise])
}

/// Asks whether the exchange before it has found in `found` what it `expected`.
pub(crate) fn when_exchanged(expected: Reg, found: Reg, then: Code, otherwise: Code) -> Code {
    let condition = is([expected, found], |[expected, found]| expected == found);
    let mut code = when_else(condition, then, otherwise);
    code.0[0].is_about_exchange = true;
    code
}

/// Over and over, until a [`stop`].
pub(crate) fn repeat(mut body: Code) -> Code {
    let len = body.len();
    for (index, op) in body.0.iter_mut().enumerate().filter(|(_, op)| op.is_break) {
        op.action = Action::Jump { skip: len - index as isize };
        op.is_break = false;
    }
    seq([body, Code::one(Action::Jump { skip: -len - 1 })])
}

/// Leaves the innermost [`repeat`].
pub(crate) fn stop() -> Code {
    let mut code = Code::one(Action::Jump { skip: 0 });
    code.0[0].is_break = true;
    code
}

/// What is still to come from an operation on, or from the end, whichever way the program goes: a
/// bit for each register or place.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Future {
    /// The registers whose values still count. That two states differ in the others is no reason to
    /// look at both.
    pub(crate) live: u32,
    /// The places that are read, written or slept on.
    pub(crate) touches: u32,
    pub(crate) writes: u32,
    pub(crate) sleeps: u32,
    pub(crate) has_membarrier: bool,
}

impl Future {
    /// What `op` adds, from whose registers those do not count that it writes.
    fn before(self, op: &Op) -> Self {
        let (needs, writes) = op.registers();
        let bit = |register: Reg| 1 << register as usize;
        let kept = self.live & !writes.map_or(0, bit);
        let live = needs.into_iter().map(bit).fold(kept, |all, need| all | need);
        Self { live, ..self.and(Self::of(op)) }
    }

    /// What the operation alone does to memory.
    pub(crate) fn of(op: &Op) -> Self {
        let bit = |place: Place| 1 << place as usize;
        let place = op.place().map_or(0, bit);
        let (mut writes, mut sleeps, mut has_membarrier) = (0, 0, false);
        match op.action {
            Action::Store { .. } | Action::Exchange { .. } => writes = place,
            Action::Sleep { at, .. } => sleeps = bit(at),
            Action::Membarrier => has_membarrier = true,
            _ => {}
        }
        Self { live: 0, touches: place | sleeps, writes, sleeps, has_membarrier }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            live: self.live | other.live,
            touches: self.touches | other.touches,
            writes: self.writes | other.writes,
            sleeps: self.sleeps | other.sleeps,
            has_membarrier: self.has_membarrier | other.has_membarrier,
        }
    }
}

pub(crate) fn futures(code: &[Op]) -> Vec<Future> {
    let mut futures = vec![Future::default(); code.len() + 1];
    futures[code.len()].live = OUTCOME.into_iter().map(|register| 1 << register as usize).sum();
    loop {
        let before = futures.clone();
        for (index, op) in code.iter().enumerate().rev() {
            let after = op.successors(index).into_iter().map(|next| futures[next]);
            futures[index] = after.reduce(Future::and).unwrap_or_default().before(op);
        }
        if futures == before {
            return futures;
        }
    }
}
