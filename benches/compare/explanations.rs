//! What is known about the workloads on which a peer is faster.

use std::time::Duration;

use crate::ratios::{Comparison, Figure};
use crate::rounds::Results;
use crate::workloads::{Kind, Payload};

const POLLING: &str = "A consumer that tries again at once takes each item as soon as it is \
    published, and then fetches a cache line for each. One that tries less often finds several in a \
    line. With `BYWASH_CONSUMER_PAUSES=64` no peer is ahead.";

const FULL_OR_EMPTY: &str = "In a ring that is full or empty all the time, a push reads the head for \
    each item, where `crossbeam-channel` reads the slot that it is about to write. At capacity 1024 \
    the head is read once for many items, and `crossbeam-channel` is not ahead.";

const MOVES: &str = "An item of more than 16 bytes goes through memory into the call, into the error \
    and out again. In this loop a `String` is moved seven times with bywash, and five times with \
    `tokio`: `perf record` and `perf annotate` of `--run full/try_push/string,capacity_1024 bywash \
    100000000` show that nearly all of the time goes into that.";

const PLACEMENT: &str = "The peers that take less processor time have more context switches, and \
    their push call takes two to three times as long: the woken consumer runs on the producer's \
    core, and bywash's on the idle one. See the context switches and latencies below. Pinned apart, \
    where the system has no choice, the difference is gone.";

const SPINS: &str = "`kanal`'s consumer spins while it waits, so that a push need not wake it. It \
    takes more than three times the processor time: see the table below.";

/// Why a peer is faster, and how a reader can see that. Only what a counter or an experiment has
/// shown.
pub(crate) fn of(comparison: &Comparison<'_>) -> &'static str {
    let Comparison { results: Results { workload, .. }, figure, peer, .. } = comparison;
    let is_call = matches!(figure, Figure::Call50 | Figure::Call99);
    let times = [100, 300].map(Duration::from_micros);
    match workload.kind {
        Kind::Try if workload.capacity == 8 => FULL_OR_EMPTY,
        Kind::Try if workload.capacity >= 1024 && workload.payload != Payload::String => POLLING,
        Kind::Full if workload.payload != Payload::U64 => MOVES,
        Kind::Paced(_) if is_call && peer.name() == "kanal" => SPINS,
        Kind::Paced(pace)
            if *figure == Figure::Time
                && workload.producers == 1
                && times.contains(&pace.period)
                && !workload.pinned =>
        {
            PLACEMENT
        }
        _ => "no explanation yet",
    }
}
