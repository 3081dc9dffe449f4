//! What the processes of a run tell each other, in memory that they share.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering::SeqCst};

use super::asleep::sleeps_unbounded;
use super::child::shared;

/// What became of a try. The later ones are told only if none of the earlier ones is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    Hang,
    Crash,
    Asleep,
    Doubled,
    Lost,
    Reordered,
    Hidden,
    Refused,
}

impl Verdict {
    pub(crate) const ALL: [Self; 9] = [
        Self::Fine,
        Self::Hang,
        Self::Crash,
        Self::Asleep,
        Self::Doubled,
        Self::Lost,
        Self::Reordered,
        Self::Hidden,
        Self::Refused,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Hang => "hang",
            Self::Crash => "crash",
            Self::Asleep => "asleep",
            Self::Doubled => "doubled",
            Self::Lost => "lost",
            Self::Reordered => "reordered",
            Self::Hidden => "hidden",
            Self::Refused => "refused",
        }
    }
}

/// How many tries ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally([usize; Verdict::ALL.len()]);

impl Tally {
    pub(crate) fn add(&mut self, verdict: Verdict) {
        self.0[verdict as usize] += 1;
    }

    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.0[verdict as usize]
    }

    pub(crate) fn tried(&self) -> usize {
        self.0.iter().sum()
    }

    pub(crate) fn findings(&self) -> usize {
        self.tried() - self.count(Verdict::Fine)
    }

    /// As "0 of 52", or "3 hang, 1 lost of 52".
    pub(crate) fn summary(&self) -> String {
        let found = Verdict::ALL.into_iter().skip(1).filter(|&verdict| self.count(verdict) != 0);
        let found: Vec<_> =
            found.map(|verdict| format!("{} {}", self.count(verdict), verdict.word())).collect();
        let found = if found.is_empty() { "0".into() } else { found.join(", ") };
        format!("{found} of {}", self.tried())
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }
}

/// What came of a scene with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The queue does not offer the call or the capacity.
    NotOffered,
    /// It does not end well with nothing interrupted.
    Alone(Verdict),
    Tried(Tally),
}

impl Outcome {
    pub(crate) fn tally(&self) -> Option<Tally> {
        if let Self::Tried(tally) = self { Some(*tally) } else { None }
    }
}

/// What is being done in a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Calls on the queue, none of which has cause to wait.
    Calls,
    /// Waiting for a receiver that has items.
    Wakeup,
}

/// How many threads of a try can be seen asleep.
const THREADS: usize = 2;

/// How many calls are looked at for what they cost.
pub(crate) const CALLS: usize = 68;
/// What is counted of a call.
pub(crate) const COSTS: usize = 6;

pub(crate) struct Board {
    progress: AtomicUsize,
    phase: AtomicUsize,
    threads: [AtomicI32; THREADS],
    verdicts: [AtomicUsize; Verdict::ALL.len()],
    /// How many items were accepted by a queue that was full already.
    pub(crate) accepted: AtomicUsize,
    pub(crate) pushes: [[AtomicU32; COSTS]; CALLS],
    pub(crate) pops: [[AtomicU32; COSTS]; CALLS],
}

impl Default for Board {
    fn default() -> Self {
        Self {
            progress: AtomicUsize::new(0),
            phase: AtomicUsize::new(0),
            threads: Default::default(),
            verdicts: Default::default(),
            accepted: AtomicUsize::new(0),
            pushes: array::from_fn(|_| Default::default()),
            pops: array::from_fn(|_| Default::default()),
        }
    }
}

/// The one board.
pub(crate) fn board() -> &'static Board {
    static BOARD: OnceLock<&Board> = OnceLock::new();
    BOARD.get_or_init(shared::<Board>)
}

impl Board {
    /// Forgets the tries before.
    pub(crate) fn clear(&self) {
        self.verdicts.iter().for_each(|count| count.store(0, SeqCst));
        self.accepted.store(0, SeqCst);
        for call in self.pushes.iter().chain(&self.pops) {
            call.iter().for_each(|cost| cost.store(0, SeqCst));
        }
    }

    /// Before a try.
    pub(crate) fn begin(&self) {
        self.phase.store(0, SeqCst);
        self.threads.iter().for_each(|thread| thread.store(0, SeqCst));
    }

    /// As long as this is called nothing hangs.
    pub(crate) fn advance(&self) {
        self.progress.fetch_add(1, SeqCst);
    }

    pub(crate) fn progress(&self) -> usize {
        self.progress.load(SeqCst)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as usize, SeqCst);
        self.advance();
    }

    pub(crate) fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(SeqCst) == phase as usize
    }

    /// Says which thread this is, to those that want to see it asleep.
    pub(crate) fn register(&self, place: usize) {
        // SAFETY: it has no preconditions.
        self.threads[place].store(unsafe { libc::gettid() }, SeqCst);
    }

    pub(crate) fn sleeps(&self, place: usize) -> bool {
        let thread = self.threads[place].load(SeqCst);
        // SAFETY: it has no preconditions.
        thread != 0 && sleeps_unbounded(unsafe { libc::getpid() }, thread)
    }

    pub(crate) fn count(&self, verdict: Verdict) {
        self.verdicts[verdict as usize].fetch_add(1, SeqCst);
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally(array::from_fn(|i| self.verdicts[i].load(SeqCst)))
    }
}
