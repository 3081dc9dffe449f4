//! What is known about the workloads on which a peer is faster.

/// A part of the name of workloads, as in `try/2_to_1`, and a sentence or two for the report: why a
/// peer is faster there, and how a reader can see that. Only what a counter or an experiment has
/// shown; where nothing fits, the report says that there is no explanation yet.
const EXPLANATIONS: &[(&str, &str)] = &[];

/// For the workload of this name.
pub(crate) fn of(workload: &str) -> &'static str {
    let fitting = EXPLANATIONS.iter().find(|(part, _)| workload.contains(part));
    fitting.map_or("no explanation yet", |(_, explanation)| explanation)
}
