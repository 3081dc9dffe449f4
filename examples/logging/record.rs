//! What goes through the queue.

use std::io::{self, Write};

use crate::logger;
use crate::text::{Place, Text};

/// What kind of code logs. Each kind, on each thread, is a producer of its own: it interrupts the
/// others there.
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
    /// Counts what was accepted of this kind from this thread.
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
    /// The last one: the consumer shall finish.
    End,
}

/// Some lines of one file.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) first: Place,
    pub(crate) last: u32,
}

/// A part of a file that is being logged. When it is dropped, on whatever thread, it logs that the
/// part is done: this is the finaliser that makes queues freeze when it runs on the consumer's
/// thread.
pub(crate) struct Part(pub(crate) Range);

impl Drop for Part {
    fn drop(&mut self) {
        // What it logs has no finaliser itself, or there would be no end of it.
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
