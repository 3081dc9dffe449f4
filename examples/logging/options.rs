//! The command line.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

use crate::queues::Queue;

pub(crate) const HELP: &str = "\
A logger on a bounded queue: producers log the lines of files, destructors and signal handlers log
too, and the consumer writes everything to a file, which is then checked against what was accepted.

Usage: logging [OPTIONS] [FILES]...

  FILES...                what to log           [default: the sources of bywash]

  --queue QUEUE           bywash, std (sync_channel), crossbeam (crossbeam-channel), or
                          all: bywash, and then what becomes of the others [default: all]
  --capacity N            how many records the queue holds                 [default: 64]
  --bypass N              how many more its consumer may push when it is full
                                 [default: one more than the capacity, 16 at least]
  --producers N           how many threads log lines                       [default: 4]
  --seconds N             for how long, as 3 or 0.5                        [default: 3]
  --signals-per-second N  in total, for all threads (on Linux); 0 for none [default: 4000]
  --output FILE           where to keep the log [default: a temporary file that is removed]
  --help                  print this help

Exit code: 0 if everything accepted was written once and in order, 1 if not, 2 for bad options,
3 if it froze. With --queue all it is that of bywash.
";

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `None` means all of them.
    pub(crate) queue: Option<Queue>,
    pub(crate) capacity: usize,
    /// `None` is the default.
    pub(crate) bypass: Option<usize>,
    pub(crate) producers: usize,
    pub(crate) seconds: Duration,
    pub(crate) signals: u32,
    pub(crate) output: Option<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
}

impl Options {
    /// Reads the command line; `None` if it asks for help.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self {
            queue: None,
            capacity: 64,
            bypass: None,
            producers: 4,
            seconds: Duration::from_secs(3),
            signals: 4000,
            output: None,
            files: Vec::new(),
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("queue") => options.queue = queue(&parser.value()?.string()?)?,
                Long("capacity") => {
                    options.capacity = number(&mut parser, "--capacity", 1, 1 << 24)?
                }
                Long("bypass") => {
                    options.bypass = Some(number(&mut parser, "--bypass", 0, 1 << 24)?)
                }
                Long("producers") => {
                    options.producers = number(&mut parser, "--producers", 1, 256)?
                }
                Long("seconds") => {
                    options.seconds =
                        Duration::from_secs_f64(number(&mut parser, "--seconds", 0.1, 86_400.0)?);
                }
                Long("signals-per-second") => {
                    options.signals = number(&mut parser, "--signals-per-second", 0, 50_000)?;
                }
                Long("output") => options.output = Some(parser.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                Value(file) => options.files.push(file.into()),
                _ => return Err(argument.unexpected()),
            }
        }
        match &options.output {
            Some(output) if options.files.contains(output) => {
                Err("--output would overwrite what is to be logged".into())
            }
            _ => Ok(Some(options)),
        }
    }

    /// The command line for the same run on another queue, for `seconds` at most.
    pub(crate) fn for_rival(&self, queue: Queue, seconds: f64) -> Vec<OsString> {
        let seconds = self.seconds.as_secs_f64().min(seconds);
        let options = format!(
            "--queue={} --capacity={} --producers={} --seconds={seconds} --signals-per-second={} --",
            queue.name(),
            self.capacity,
            self.producers,
            self.signals
        );
        options
            .split(' ')
            .map(OsString::from)
            .chain(self.files.iter().map(OsString::from))
            .collect()
    }
}

fn queue(name: &str) -> Result<Option<Queue>, lexopt::Error> {
    match Queue::ALL.into_iter().find(|queue| queue.name() == name) {
        None if name != "all" => {
            Err(format!("--queue must be bywash, std, crossbeam or all, not {name:?}").into())
        }
        queue => Ok(queue),
    }
}

fn number<N>(
    parser: &mut lexopt::Parser,
    option: &str,
    least: N,
    most: N,
) -> Result<N, lexopt::Error>
where
    N: FromStr + PartialOrd + Display,
{
    let value = parser.value()?.string()?;
    match value.parse() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("{option} must be a number from {least} to {most}, not {value:?}").into()),
    }
}
