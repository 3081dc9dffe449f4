//! What is known about the workloads on which a peer is faster.

use crate::ratios::Comparison;
use crate::results::{Figure, Results};
use crate::units::duration;
use crate::workloads::{Kind, Payload};

const ANOTHER_QUEUE: &str = "With room for one item `crossfire` is another queue: one word holds \
    both indices, and a pop waits for a push that has not finished (its `flavor/one_mpsc.rs`), as \
    no pop of bywash may. With more room it is a ring, too, and no longer twice as fast: see \
    capacity 8.";

const ANOTHER_TOO: &str = "With room for one item `concurrent-queue` is another queue: one word has a \
    bit for the item and a bit for who writes or reads it, and a pop waits for a push that has not \
    finished (its `single.rs`), as no pop of bywash may. With more room it is a ring, too: see \
    capacity 8.";

const MOVES: &str = "An item of more than 16 bytes goes through memory into the call, into the \
    error and out again. In this loop a `String` is moved seven times with bywash, and five times \
    with `tokio`: `perf record` and `perf annotate` of `--run full/try_push/string,capacity_1024 \
    bywash 100000000` show that nearly all of the time goes into that.";

const YIELDS: &str = "Before a consumer of bywash sleeps it yields once. Without the yields \
    of `Backoff::new` (`src/sleep/backoff.rs`) it does not, and is level with its peers here. But \
    then it preempts the thread whose push wakes it, and the push takes 2.5 times as long (as with \
    `flume`, `thingbuf` and `tokio`: see the calls under latencies). And bursts of 20 items take \
    half as much processor time again.";

const LUCKIEST: &str = "Most peers are alike here, and bywash lies among them: see the table \
    below. The best of eight is the luckiest of eight, too: another run mostly names another \
    one.";

/// How many peers are behind bywash.
fn slower_peers(comparison: &Comparison<'_>) -> usize {
    let Comparison { results, figure, ours, .. } = comparison;
    let ours = ours.median(*figure);
    results.peers(*figure).iter().filter(|peer| peer.median(*figure) > ours).count()
}

const IN_A_LIST: &str = "A push that waits leaves its item in a list under a mutex, and the consumer \
    moves the oldest into the queue (`pull_pending` of `flume`). So none overtakes another. In a \
    signal handler, a push could find that mutex locked by what it interrupted.";

/// Where a peer's push takes much longer, because the thread that it wakes runs first.
fn preempts(comparison: &Comparison<'_>) -> Option<String> {
    let Comparison { results, ours, peer, .. } = comparison;
    let times = peer.median(Figure::Call50) / ours.median(Figure::Call50);
    (times > 2.0 && !results.workload.pinned).then(|| {
        format!(
            "`{}`'s consumer runs on the core of the thread that pushes, before the push returns. \
             So the item is there sooner, and the push takes {times:.1} times as long: see the \
             calls under latencies.",
            peer.name(),
        )
    })
}

fn spins(comparison: &Comparison<'_>) -> String {
    let Comparison { ours, peer, .. } = comparison;
    let times = peer.median(Figure::Time) / ours.median(Figure::Time);
    format!(
        "`kanal`'s consumer spins while it waits, so that a push need not wake it. It takes \
         {times:.1} times as much processor time: see the table below."
    )
}

/// Where a peer's consumer sleeps sooner, and its items are late.
fn sleeps_sooner(comparison: &Comparison<'_>) -> Option<String> {
    let Comparison { ours, peer, .. } = comparison;
    let [ours, peers] = [ours, peer].map(|line| line.median(Figure::Delivery50));
    (peers > 1.25 * ours).then(|| {
        format!(
            "`{}`'s consumer sleeps where that of bywash still looks, for some ten microseconds. \
             So half of the items are with it after {}, with bywash after {}.",
            peer.name(),
            duration(peers),
            duration(ours),
        )
    })
}

/// Why a peer is faster, and how a reader can see that. Only what a counter or an experiment has
/// shown.
pub(crate) fn of(comparison: &Comparison<'_>) -> String {
    let Comparison { results: Results { workload, .. }, figure, peer, .. } = comparison;
    let is_waking = !matches!(figure, Figure::Time);
    let is_paced = workload.kind.pace().is_some();
    let known = match figure {
        Figure::Time if is_paced => sleeps_sooner(comparison),
        Figure::Time if workload.kind == Kind::WakeUp => preempts(comparison),
        Figure::Delivery50 | Figure::Delivery99 => preempts(comparison),
        _ => None,
    };
    if let Some(known) = known {
        return known;
    }
    let known = match workload.kind {
        Kind::Try | Kind::Blocking if workload.capacity == 1 && peer.name() == "crossfire" => {
            ANOTHER_QUEUE
        }
        Kind::Try if workload.capacity == 1 && peer.name() == "concurrent-queue" => ANOTHER_TOO,
        Kind::Full if workload.payload != Payload::U64 => MOVES,
        Kind::Paced(_) | Kind::Signals(_) if is_waking && peer.name() == "kanal" => {
            return spins(comparison);
        }
        Kind::Paced(_) | Kind::Signals(_)
            if *figure == Figure::Time && slower_peers(comparison) >= 3 =>
        {
            LUCKIEST
        }
        Kind::Paced(pace) if *figure == Figure::Time && pace.burst == 1 && !workload.pinned => {
            YIELDS
        }
        Kind::Turns if peer.name() == "flume" => IN_A_LIST,
        _ => "no explanation yet",
    };
    known.into()
}
