//! One interface to the three queues, so that the same program runs on each.

use std::sync::mpsc;

use bywash::{PushError, TryPushError};
use crossbeam_channel as crossbeam;

use crate::record::Record;

/// Which queue to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Bywash,
    Std,
    Crossbeam,
}

impl Queue {
    pub(crate) const ALL: [Self; 3] = [Self::Bywash, Self::Std, Self::Crossbeam];

    pub(crate) fn name(self) -> &'static str {
        ["bywash", "std", "crossbeam"][self as usize]
    }

    pub(crate) fn title(self) -> &'static str {
        ["bywash", "std::sync::mpsc::sync_channel", "crossbeam_channel::bounded"][self as usize]
    }

    pub(crate) fn open(
        self,
        capacity: usize,
        bypass: Option<usize>,
    ) -> (Box<dyn Sink>, Box<dyn Source>) {
        match self {
            Self::Bywash => {
                let builder = bywash::Builder::new(capacity);
                let builder = match bypass {
                    Some(slots) => builder.bypass(slots),
                    None => builder,
                };
                let (producer, consumer) = builder.build();
                (Box::new(producer), Box::new(consumer))
            }
            Self::Std => {
                let (sender, receiver) = mpsc::sync_channel(capacity);
                (Box::new(sender), Box::new(receiver))
            }
            Self::Crossbeam => {
                let (sender, receiver) = crossbeam::bounded(capacity);
                (Box::new(sender), Box::new(receiver))
            }
        }
    }
}

/// Why the queue refused a record. The record has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    WouldDeadlock,
    Closed,
}

impl Refused {
    pub(crate) const ALL: [Self; 3] = [Self::Full, Self::WouldDeadlock, Self::Closed];
}

/// The producers' end.
pub(crate) trait Sink: Send + Sync {
    /// May wait for room. Not for signal handlers.
    fn push(&self, record: Record) -> Result<(), Refused>;
    fn try_push(&self, record: Record) -> Result<(), Refused>;
    /// How many records went through the bypass, because the ring was full.
    fn bypassed(&self) -> u64 {
        0
    }
}

/// The consumer's end.
pub(crate) trait Source: Send {
    /// The consumer's thread calls this before anything else.
    fn bind(&mut self) {}
    fn pop(&mut self) -> Option<Record>;
    fn try_pop(&mut self) -> Option<Record>;
}

impl Sink for bywash::Producer<Record> {
    fn push(&self, record: Record) -> Result<(), Refused> {
        bywash::Producer::push(self, record).map_err(|error| match error {
            PushError::WouldDeadlock(_) => Refused::WouldDeadlock,
            PushError::Closed(_) => Refused::Closed,
        })
    }

    fn try_push(&self, record: Record) -> Result<(), Refused> {
        bywash::Producer::try_push(self, record).map_err(|error| match error {
            TryPushError::Full(_) => Refused::Full,
            TryPushError::Closed(_) => Refused::Closed,
        })
    }

    fn bypassed(&self) -> u64 {
        bywash::Producer::bypassed(self)
    }
}

impl Source for bywash::Consumer<Record> {
    fn bind(&mut self) {
        bywash::Consumer::bind(self);
    }

    fn pop(&mut self) -> Option<Record> {
        bywash::Consumer::pop(self).ok()
    }

    fn try_pop(&mut self) -> Option<Record> {
        bywash::Consumer::try_pop(self).ok()
    }
}

/// The two channels have the same methods.
macro_rules! channel {
    ($sender:ty, $receiver:ty, $error:path) => {
        impl Sink for $sender {
            fn push(&self, record: Record) -> Result<(), Refused> {
                self.send(record).map_err(|_| Refused::Closed)
            }

            fn try_push(&self, record: Record) -> Result<(), Refused> {
                use $error as Error;
                self.try_send(record).map_err(|error| match error {
                    Error::Full(_) => Refused::Full,
                    Error::Disconnected(_) => Refused::Closed,
                })
            }
        }

        impl Source for $receiver {
            fn pop(&mut self) -> Option<Record> {
                self.recv().ok()
            }

            fn try_pop(&mut self) -> Option<Record> {
                self.try_recv().ok()
            }
        }
    };
}

channel!(mpsc::SyncSender<Record>, mpsc::Receiver<Record>, mpsc::TrySendError);
channel!(crossbeam::Sender<Record>, crossbeam::Receiver<Record>, crossbeam::TrySendError);
