//! What is known about the workloads on which a peer is faster.

use crate::ratios::{Comparison, Figure};
use crate::rounds::Results;
use crate::workloads::{Kind, Payload};

const POLLING: &str = "A consumer that tries again at once takes each item as soon as it is \
    published, and then fetches a cache line for each. One that tries less often finds several in a \
    line. With `BYWASH_CONSUMER_PAUSES=64` no peer is ahead.";

const PARTLY_POLLING: &str = "In part: a consumer that tries again at once fetches a cache line for \
    each item, as soon as that is published. With `BYWASH_CONSUMER_PAUSES=64` the best peer is less \
    far ahead. There is no explanation yet for the rest.";

const FULL_OR_EMPTY: &str = "In a ring that is full or empty all the time, a push reads the head for \
    each item, where `crossbeam-channel` reads the slot that it is about to write. At capacity 1024 \
    the head is read once for many items, and `crossbeam-channel` is not ahead.";

const ANOTHER_QUEUE: &str = "With room for one item `crossfire` is another queue: one word holds both \
    indices, and a pop waits for a push that has not finished (its `flavor/one_mpsc.rs`), as no pop \
    of bywash may. With more room it is a ring, too, and no longer twice as fast: see capacity 8.";

const MOVES: &str = "An item of more than 16 bytes goes through memory into the call, into the error \
    and out again. In this loop a `String` is moved seven times with bywash, and five times with \
    `tokio`: `perf record` and `perf annotate` of `--run full/try_push/string,capacity_1024 bywash \
    100000000` show that nearly all of the time goes into that.";

const SPINS: &str = "`kanal`'s consumer spins while it waits, so that a push need not wake it. It \
    takes more than three times the processor time: see the table below.";

const LUCKIEST: &str = "Most peers are alike here, and bywash lies among them: see the table below. The \
    best of eight is the luckiest of eight, too: another run mostly names another one.";

/// How many peers are behind bywash.
fn slower_peers(comparison: &Comparison<'_>) -> usize {
    let Comparison { results, figure, ours, .. } = comparison;
    let ours = ours.median(*figure);
    results.peers(*figure).iter().filter(|peer| peer.median(*figure) > ours).count()
}

/// Why a peer is faster, and how a reader can see that. Only what a counter or an experiment has
/// shown.
pub(crate) fn of(comparison: &Comparison<'_>) -> &'static str {
    let Comparison { results: Results { workload, .. }, figure, peer, .. } = comparison;
    let is_call = matches!(figure, Figure::Call50 | Figure::Call99);
    match workload.kind {
        Kind::Try | Kind::Blocking if workload.capacity == 1 && peer.name() == "crossfire" => {
            ANOTHER_QUEUE
        }
        Kind::Try | Kind::Blocking if workload.capacity == 8 => FULL_OR_EMPTY,
        Kind::Try if workload.payload == Payload::Bytes64 || workload.capacity > 1024 => {
            PARTLY_POLLING
        }
        Kind::Try if workload.capacity == 1024 && workload.payload != Payload::String => POLLING,
        Kind::Full if workload.payload != Payload::U64 => MOVES,
        Kind::Paced(_) | Kind::Signals(_) if is_call && peer.name() == "kanal" => SPINS,
        Kind::Paced(_) | Kind::Signals(_)
            if *figure == Figure::Time && slower_peers(comparison) >= 3 =>
        {
            LUCKIEST
        }
        _ => "no explanation yet",
    }
}
