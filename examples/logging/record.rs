//! What goes through the queue.

use std::io::{self, Write};

use crate::logger;
use crate::text::{Place, Text};

/// The kind of code that logs. Each kind on each thread counts as a producer of its own, because it
/// interrupts the others on that thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Line,
    Finaliser,
    Signal,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Line, Self::Finaliser, Self::Signal];

    pub(crate) fn name(self) -> &'static str {
        ["line", "finaliser", "signal"][self as usize]
    }
}

/// One line of the log.
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// The number of the thread that logged it: 0 is the consumer's.
    pub(crate) thread: usize,
    /// How many records of this kind from this thread were accepted before.
    pub(crate) sequence: u64,
    pub(crate) body: Body,
}

/// Only `Line` has a destructor. The others are plain numbers, so a signal handler may make and
/// drop them.
pub(crate) enum Body {
    Line {
        place: Place,
        _ends: Option<Part>,
    },
    Done(Range),
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    Signal,
    /// The last record, which tells the consumer to finish.
    End,
}

/// Some lines of one file.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) first: Place,
    pub(crate) last: u32,
}

/// A part of a file that is being logged. When it is dropped, on any thread, it logs that the part
/// is done. This is the finaliser that freezes other queues when it runs on the consumer's thread.
pub(crate) struct Part(pub(crate) Range);

impl Drop for Part {
    fn drop(&mut self) {
        // The record that it logs has no finaliser, or the logging would never end.
        logger::log(Kind::Finaliser, Body::Done(self.0));
    }
}

impl Record {
    /// Writes the record as a line of the log.
    pub(crate) fn write(&self, text: &Text, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{}-{} {} ", self.kind.name(), self.thread, self.sequence)?;
        match &self.body {
            Body::Line { place, .. } => {
                writeln!(
                    out,
                    "{}:{} {}",
                    text.source(place.source).name,
                    place.line + 1,
                    text.line(*place).text
                )
            }
            Body::Done(Range { first, last }) => {
                writeln!(
                    out,
                    "{}:{}-{} is done",
                    text.source(first.source).name,
                    first.line + 1,
                    last + 1
                )
            }
            Body::Signal => writeln!(out, "tick"),
            Body::End => writeln!(out, "end"),
        }
    }
}
