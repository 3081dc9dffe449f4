//! Reads the log back: has everything that was accepted arrived, once, and in order?

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::str::from_utf8;

use crate::record::{Body, Kind, Record};
use crate::text::{Place, Text};

/// How many faults are described in words.
const DESCRIBED: usize = 5;

/// What was found.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) records: u64,
    pub(crate) faults: u64,
    pub(crate) described: Vec<String>,
}

/// One kind of code on one thread.
struct Expected<'a> {
    kind: Kind,
    thread: usize,
    accepted: u64,
    next: u64,
    /// What a producer logs, in its order.
    places: Option<Box<dyn Iterator<Item = Place> + 'a>>,
}

/// Checks the log against the text and against the numbers of records that were accepted, by thread
/// and kind.
pub(crate) fn verify(log: &Path, text: &Text, accepted: &[[u64; 3]]) -> io::Result<Findings> {
    let mut expected: Vec<_> =
        (0..accepted.len()).map(|thread| expect(text, thread, accepted[thread])).collect();
    let mut findings = Findings::default();
    let mut file = BufReader::with_capacity(1 << 16, File::open(log)?);
    let (mut line, mut scratch) = (Vec::new(), Vec::new());
    while file.read_until(b'\n', &mut line)? != 0 {
        findings.records += 1;
        if let Err(fault) = check(&line, text, &mut expected, &mut scratch) {
            findings.fault(format!("line {}: {fault}", findings.records));
        }
        line.clear();
    }
    for one in expected.iter().flatten().filter(|one| one.next != one.accepted) {
        let Expected { kind, thread, accepted, next, .. } = one;
        findings.fault(format!(
            "{}-{thread}: {accepted} were accepted, {next} have arrived",
            kind.name()
        ));
    }
    Ok(findings)
}

fn expect(text: &Text, thread: usize, accepted: [u64; 3]) -> [Expected<'_>; 3] {
    Kind::ALL.map(|kind| {
        let places = text.sources_for(thread).flat_map(|source| text.places_in(source));
        let places =
            (kind == Kind::Line).then(|| Box::new(places) as Box<dyn Iterator<Item = Place>>);
        Expected { kind, thread, accepted: accepted[kind as usize], next: 0, places }
    })
}

/// Checks one line of the log.
fn check(
    line: &[u8],
    text: &Text,
    expected: &mut [[Expected; 3]],
    scratch: &mut Vec<u8>,
) -> Result<(), String> {
    let shown = || String::from_utf8_lossy(line).trim_end().to_owned();
    let (kind, thread, sequence) =
        parse(line).ok_or_else(|| format!("not a record: {}", shown()))?;
    let one =
        expected.get_mut(thread).ok_or_else(|| format!("from an unknown thread: {}", shown()))?;
    let one = &mut one[kind as usize];
    if sequence != one.next {
        let wanted = one.next;
        // So that one lost record counts as one fault.
        one.skip_to(sequence);
        return Err(format!("number {wanted} should have come before: {}", shown()));
    }
    one.next += 1;
    if let Some(place) = one.places.as_mut().and_then(Iterator::next) {
        scratch.clear();
        let record = Record { kind, thread, sequence, body: Body::Line { place, _ends: None } };
        record.write(text, scratch).map_err(|error| error.to_string())?;
        if scratch != line {
            return Err(format!("the text is not what was logged: {}", shown()));
        }
    }
    Ok(())
}

/// The start of a line of the log, as `line-1 23 `.
fn parse(line: &[u8]) -> Option<(Kind, usize, u64)> {
    let mut words = line.strip_suffix(b"\n")?.splitn(3, |byte| *byte == b' ');
    let (source, sequence) = (from_utf8(words.next()?).ok()?, from_utf8(words.next()?).ok()?);
    let (name, thread) = source.split_once('-')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
    Some((kind, thread.parse().ok()?, sequence.parse().ok()?))
}

impl Expected<'_> {
    fn skip_to(&mut self, sequence: u64) {
        if let (Some(places), Some(skipped)) = (&mut self.places, sequence.checked_sub(self.next)) {
            places.take(skipped as usize + 1).for_each(drop);
        }
        self.next = self.next.max(sequence + 1);
    }
}

impl Findings {
    fn fault(&mut self, what: String) {
        self.faults += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(what);
        }
    }
}
