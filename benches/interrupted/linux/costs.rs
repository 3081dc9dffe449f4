//! What one call did: instructions, and which of them are dear.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use super::board::{CALLS, COSTS, Verdict, board};
use super::queues::{Receiver, Sender, Subject};
use super::record::aged;
use super::threads::Sleeper;
use super::trap::{Step, step};
use super::watch::attempt;

/// The first calls are not looked at for the longest one: they may do what is done once.
const FIRST: usize = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) instructions: u32,
    /// Without the fences.
    pub(crate) locked: u32,
    pub(crate) fences: u32,
    pub(crate) system_calls: u32,
    /// Calls of the allocator, to free as well.
    pub(crate) allocations: u32,
    /// Registered destructors of thread-locals.
    pub(crate) destructors: u32,
}

impl Cost {
    fn add(&mut self, step: &Step<'_>) {
        self.instructions += 1;
        self.locked += u32::from(step.is_locked() && !step.is_fence());
        self.fences += u32::from(step.is_fence());
        self.system_calls += u32::from(step.is_system_call());
        self.allocations += u32::from(allocator().contains(&step.address()));
        self.destructors += u32::from(step.address() == registers_destructors());
    }

    pub(crate) fn all(self) -> [u32; COSTS] {
        let Self { instructions, locked, fences, system_calls, allocations, destructors } = self;
        [instructions, locked, fences, system_calls, allocations, destructors]
    }

    fn write(self, to: &[AtomicU32; COSTS]) {
        to.iter().zip(self.all()).for_each(|(to, cost)| to.store(cost, SeqCst));
    }

    fn read(from: &[AtomicU32; COSTS]) -> Self {
        let [instructions, locked, fences, system_calls, allocations, destructors] =
            from.each_ref().map(|cost| cost.load(SeqCst));
        Self { instructions, locked, fences, system_calls, allocations, destructors }
    }
}

fn allocator() -> [usize; 6] {
    [
        libc::malloc as *const () as usize,
        libc::calloc as *const () as usize,
        libc::realloc as *const () as usize,
        libc::posix_memalign as *const () as usize,
        libc::aligned_alloc as *const () as usize,
        libc::free as *const () as usize,
    ]
}

fn registers_destructors() -> usize {
    unsafe extern "C" {
        fn __cxa_thread_atexit_impl();
    }
    __cxa_thread_atexit_impl as *const () as usize
}

fn cost_of(call: impl FnOnce()) -> Cost {
    let mut cost = Cost::default();
    step(
        &mut |step| {
            board().advance();
            cost.add(step);
        },
        call,
    );
    cost
}

/// What the pushes and pops of a new thread on an empty queue cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) median: Cost,
    pub(crate) longest: Cost,
    /// Which of the calls took longest, as soon as all is used to.
    pub(crate) position: usize,
}

impl Calls {
    fn of(costs: &[[AtomicU32; COSTS]; CALLS]) -> Self {
        let costs: Vec<_> = costs.iter().map(Cost::read).collect();
        let by_length = |place: &usize| (costs[*place].instructions, CALLS - place);
        let mut places: Vec<_> = (0..CALLS).collect();
        places.sort_unstable_by_key(by_length);
        let position = (FIRST..CALLS).max_by_key(by_length).expect("there are some");
        Self { median: costs[places[CALLS / 2]], longest: costs[places[CALLS - 1]], position }
    }
}

/// Of pushes and of pops, or `None` if they hang.
pub(crate) fn of_calls<Q: Subject>(capacity: usize) -> Option<[Calls; 2]> {
    board().clear();
    let verdict = attempt(|| {
        let body = move || {
            let ([mut sender, ..], mut receiver) = aged::<Q>(capacity, 0);
            for number in 0..CALLS {
                cost_of(|| _ = sender.try_put(0)).write(&board().pushes[number]);
                cost_of(|| _ = receiver.try_take()).write(&board().pops[number]);
            }
        };
        thread::spawn(body).join().map_or(Verdict::Crash, |()| Verdict::Fine) as i32
    });
    (verdict == Some(Verdict::Fine)).then(|| [Calls::of(&board().pushes), Calls::of(&board().pops)])
}

/// Of a push that wakes a receiver.
pub(crate) fn of_a_wake<Q: Subject>(capacity: usize, position: usize) -> Option<Cost> {
    board().clear();
    let verdict = attempt(|| {
        let ([mut sender, ..], receiver) = aged::<Q>(capacity, position);
        let sleeper = Sleeper::spawn::<Q>(receiver);
        cost_of(|| _ = sender.try_put(0)).write(&board().pushes[0]);
        sleeper.wait_for(1);
        Verdict::Fine as i32
    });
    (verdict == Some(Verdict::Fine)).then(|| Cost::read(&board().pushes[0]))
}
