//! What pages are made of.

use std::collections::BTreeSet;

/// What GitHub and rustdoc make of a heading.
fn anchor(heading: &str) -> String {
    let is_kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    heading.to_lowercase().chars().filter(is_kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The anchors of the headings of `text` that begin with `prefix`.
pub(crate) fn anchors(text: &str, prefix: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix(prefix));
    headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
}

/// What comes between `begin` and the next `end`, each time.
pub(crate) fn between<'a>(
    text: &'a str,
    begin: &'a str,
    end: char,
) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).map(move |rest| rest.split(end).next().unwrap_or(rest))
}
