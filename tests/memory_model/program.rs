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
    Announced,
    Found,
    Head,
    Index,
    Limit,
    Now,
    Registered,
    Result,
    Round,
    Stamp,
    Tail,
}

impl Reg {
    pub(crate) const COUNT: usize = Self::Tail as usize + 1;
}

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
    Registered,
    /// The word that producers sleep on.
    Room,
    Descriptor,
    Tickets,
}

impl Place {
    pub(crate) const COUNT: usize = Self::Tickets as usize + 1;
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

/// A value computed from registers. Whatever uses it depends on all of them.
#[derive(Clone)]
pub(crate) struct Expr {
    pub(crate) needs: Vec<Reg>,
    compute: Rc<dyn Fn(&[Word]) -> Word>,
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
    /// Marks a jump to the end of the enclosing `repeat`, until that is put together.
    is_break: bool,
}

/// A piece of a program.
#[derive(Clone)]
pub(crate) struct Code(pub(crate) Vec<Op>);

impl Code {
    fn one(action: Action) -> Self {
        Self(vec![Op { action, label: "", address: None, is_break: false }])
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
