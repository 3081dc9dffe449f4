//! What is known about the workloads on which a peer is faster.

/// The name of a workload, or how the names of several begin, up to a `/`; and a sentence or two
/// for the report: why a peer is faster there, and how a reader can see that. Only what a counter or
/// an experiment has shown; where nothing fits, the report says that there is no explanation yet.
/// The first that fits counts.
const EXPLANATIONS: &[(&str, &str)] = &[
    ("try/2_to_1/u64,capacity_8", FULL_OR_EMPTY),
    ("try/2_to_1/u64,capacity_8,pinned", FULL_OR_EMPTY),
    (
        "try/",
        "A consumer that tries again at once takes each item as soon as it is published, and then \
         fetches a cache line for each. One that tries less often finds several in a line. With \
         `BYWASH_CONSUMER_PAUSES=64` no peer is ahead.",
    ),
    (
        "full/try_push/",
        "An item of more than 16 bytes goes through memory into the call, into the error and out \
         again. In this loop it is moved seven times with bywash, and five times with `tokio`: \
         `perf record` and `perf annotate` of `--run full/try_push/string,capacity_1024 bywash \
         100000000` show that nearly all of the time goes into that.",
    ),
    ("paced/1_to_1_1_each_100us/record,capacity_1024", PLACEMENT),
    ("paced/1_to_1_1_each_300us/record,capacity_1024", PLACEMENT),
];

const FULL_OR_EMPTY: &str = "In a ring that is full or empty all the time, a push reads the head for \
    each item, where `crossbeam-channel` reads the slot that it is about to write. At capacity 1024 \
    the head is read once for many items, and `crossbeam-channel` is not ahead.";

const PLACEMENT: &str = "The peers that take less processor time have more context switches, and \
    their push call takes two to three times as long: the woken consumer runs on the producer's \
    core, and bywash's on the idle one. See the context switches and latencies below. Pinned apart, \
    where the system has no choice, the difference is gone.";

/// For the workload of this name.
pub(crate) fn of(workload: &str) -> &'static str {
    let fits = |name: &str| workload == name || name.ends_with('/') && workload.starts_with(name);
    let fitting = EXPLANATIONS.iter().find(|(name, _)| fits(name));
    fitting.map_or("no explanation yet", |(_, explanation)| explanation)
}
