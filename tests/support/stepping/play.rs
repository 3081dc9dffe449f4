//! A call on a queue, what interrupts it, and what must hold afterwards.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use bywash::{Builder, Consumer, DomainGuard, Producer, TryPushError};

use super::signals::{Timer, errno, handle, set_errno};

pub(crate) const BYPASS: usize = 2;

/// The value of `errno` before and after a push.
const MARK: i32 = 77;

/// How many items a batch has, or room for.
const BATCH: usize = 3;

/// More items than one process ever makes.
const ITEMS: usize = 128;

/// How often each item was dropped.
static DROPS: [AtomicU32; ITEMS] = [const { AtomicU32::new(0) }; ITEMS];

pub(crate) struct Item(usize);

impl Drop for Item {
    fn drop(&mut self) {
        DROPS[self.0].fetch_add(1, Ordering::Relaxed);
    }
}

/// The call that is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outer {
    TryPush,
    TryPushMany,
    TryPushWithin,
    /// The pushes on top of it are then of this kind, too, so refused items are counted.
    TryPushOrCount,
    /// With a timeout of zero, or on a thread that must not wait, with the longest timeout.
    TryPushAndWait,
    Push,
    TryPop,
    TryPopMany,
    Pop,
    PopTimeout,
    PopTimeoutSoonOver,
    Close,
    DropConsumer,
    DropProducer,
    DropLastProducer,
}

impl Outer {
    /// How many items it pushes, at most.
    pub(crate) fn pushes(self) -> usize {
        match self {
            Self::TryPush
            | Self::TryPushWithin
            | Self::TryPushOrCount
            | Self::TryPushAndWait
            | Self::Push => 1,
            Self::TryPushMany => BATCH,
            _ => 0,
        }
    }

    /// How many items it pops, at most.
    pub(crate) fn pops(self) -> usize {
        match self {
            Self::TryPop | Self::Pop | Self::PopTimeout | Self::PopTimeoutSoonOver => 1,
            Self::TryPopMany => BATCH,
            _ => 0,
        }
    }

    pub(crate) fn closes(self) -> bool {
        matches!(self, Self::Close | Self::DropConsumer | Self::DropLastProducer)
    }
}

/// What interrupts the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nested {
    PushOne,
    PushUntilRefused,
    /// Another thread pushes one item.
    OtherPushes,
    /// The interrupted thread pushes until refused; then another thread pops everything.
    OtherPops,
}

/// The kind of thread that makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Consumer,
    Domain,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) capacity: usize,
    /// How many items are in the ring at first, and in the bypass.
    pub(crate) in_ring: usize,
    pub(crate) in_bypass: usize,
    /// How many items had been through the ring before.
    pub(crate) before: usize,
    pub(crate) who: Who,
    pub(crate) outer: Outer,
    pub(crate) nested: Nested,
}

impl Scene {
    /// The limit of `TryPushWithin`.
    fn limit(&self) -> usize {
        self.capacity.div_ceil(2)
    }

    /// Whether the call sleeps until another thread acts.
    pub(crate) fn sleeps(&self) -> bool {
        match self.outer {
            Outer::Pop | Outer::PopTimeout => self.in_ring + self.in_bypass == 0,
            Outer::Push => self.in_ring == self.capacity && self.who == Who::Other,
            _ => false,
        }
    }
}

#[derive(Default)]
struct Record {
    /// How many items were made.
    items: usize,
    /// What was in the queue before the call.
    before: Vec<usize>,
    /// What was accepted while it ran, in order, without its own items.
    accepted: Vec<usize>,
    popped: Vec<usize>,
    /// Which of its own items were accepted, and whether one was refused.
    own: Vec<usize>,
    own_refused: bool,
    /// How many it popped itself.
    popped_itself: Option<usize>,
    closed: bool,
    /// How many items were refused and counted, and how many of those were reported to the
    /// consumer.
    lost: u64,
    reported: u64,
}

/// A scene with its queue.
pub(crate) struct Play {
    scene: Scene,
    producer: RefCell<Option<Producer<Item>>>,
    consumer: RefCell<Option<Consumer<Item>>>,
    _inside: Option<DomainGuard>,
    record: RefCell<Record>,
    timer: RefCell<Option<Timer>>,
}

/// The play of this process, for the handler of a signal.
static PLAY: AtomicPtr<Play> = AtomicPtr::new(std::ptr::null_mut());

impl Play {
    pub(crate) fn new(scene: Scene) -> Box<Self> {
        let (producer, mut consumer) = Builder::new(scene.capacity).bypass(BYPASS).build();
        // A handler cannot allocate, so reserve the memory now.
        let mut record = Record { accepted: Vec::with_capacity(ITEMS), ..Record::default() };
        record.popped.reserve(ITEMS);
        consumer.bind();
        let mut push = || {
            assert!(producer.try_push(Item(record.items)).is_ok());
            record.before.push(record.items);
            record.items += 1;
        };
        for _ in 0..scene.before {
            push();
            drop(consumer.try_pop().unwrap());
        }
        // The bypass takes items only while the ring is full.
        let pushed =
            if scene.in_bypass == 0 { scene.in_ring } else { scene.capacity + scene.in_bypass };
        (0..pushed).for_each(|_| push());
        let popped = pushed - scene.in_ring - scene.in_bypass;
        (0..popped).for_each(|_| drop(consumer.try_pop().unwrap()));
        record.before.drain(..scene.before + popped);

        if scene.who != Who::Consumer {
            consumer = thread::spawn(move || {
                consumer.bind();
                consumer
            })
            .join()
            .unwrap();
        }
        let play = Box::new(Self {
            scene,
            _inside: (scene.who == Who::Domain).then(|| consumer.domain().enter()),
            producer: RefCell::new(Some(producer)),
            consumer: RefCell::new(Some(consumer)),
            record: RefCell::new(record),
            timer: RefCell::new(None),
        });
        PLAY.store((&raw const *play).cast_mut(), Ordering::SeqCst);
        play
    }

    /// Runs the call through `step`.
    pub(crate) fn call(&self, step: impl FnOnce(&mut dyn FnMut())) {
        match self.scene.outer {
            Outer::TryPushMany => self.call_push_many(step),
            Outer::TryPopMany => self.call_pop_many(step),
            outer if outer.pushes() != 0 => self.call_push(step),
            outer if outer.pops() != 0 => self.call_pop(step),
            Outer::Close => {
                let mut consumer = self.consumer.borrow_mut();
                let consumer = consumer.as_mut().unwrap();
                step(&mut || consumer.close());
            }
            Outer::DropConsumer => {
                let mut consumer = self.consumer.take();
                step(&mut || consumer = None);
            }
            Outer::DropLastProducer => {
                let mut producer = self.producer.take();
                step(&mut || producer = None);
            }
            _ => {
                let mut producer = self.producer.borrow().clone();
                step(&mut || producer = None);
            }
        }
    }

    fn call_push(&self, step: impl FnOnce(&mut dyn FnMut())) {
        let producer = self.producer.borrow().clone().unwrap();
        let own = self.new_item();
        let number = own.0;
        let (mut own, mut accepted, mut taken) = (Some(own), false, false);
        let timeout = if self.stays_inside() { Duration::MAX } else { Duration::ZERO };
        step(&mut || {
            let own = own.take().unwrap();
            accepted = match self.scene.outer {
                Outer::TryPush => producer.try_push(own).is_ok(),
                Outer::TryPushWithin => producer.try_push_within(own, self.scene.limit()).is_ok(),
                Outer::TryPushOrCount => producer.try_push_or_count(own).is_ok(),
                Outer::TryPushAndWait => {
                    let result = producer.try_push_and_wait(own, timeout);
                    taken = matches!(result, Ok(true));
                    result.is_ok()
                }
                _ => producer.push(own).is_ok(),
            };
        });
        let mut record = self.record.borrow_mut();
        assert!(!taken || record.popped.contains(&number), "the push returned that it was popped");
        record.lost += u64::from(!accepted && self.scene.outer == Outer::TryPushOrCount);
        record.own.extend(accepted.then_some(number));
        record.own_refused = !accepted;
    }

    /// Whether the call must not wait, whichever thread pops meanwhile.
    fn stays_inside(&self) -> bool {
        match self.scene.who {
            Who::Consumer => self.scene.nested != Nested::OtherPops,
            Who::Domain => true,
            Who::Other => false,
        }
    }

    fn call_push_many(&self, step: impl FnOnce(&mut dyn FnMut())) {
        let producer = self.producer.borrow().clone().unwrap();
        let mut items: VecDeque<_> = (0..BATCH).map(|_| self.new_item()).collect();
        let first = items[0].0;
        let mut result = Ok(0);
        step(&mut || result = producer.try_push_many(&mut items));
        assert_eq!(result.unwrap_or(0), BATCH - items.len());
        let mut record = self.record.borrow_mut();
        record.own.extend(first..first + BATCH - items.len());
        record.own_refused = !items.is_empty();
        assert!(
            items.iter().map(|item| item.0).eq((first..first + BATCH).skip(record.own.len())),
            "not the rest"
        );
    }

    fn call_pop_many(&self, step: impl FnOnce(&mut dyn FnMut())) {
        let mut consumer = self.consumer.borrow_mut();
        let consumer = consumer.as_mut().unwrap();
        // While it is interrupted, it cannot allocate, so reserve the memory now.
        let mut popped = Vec::with_capacity(BATCH);
        let mut result = Ok(0);
        step(&mut || result = consumer.try_pop_many(&mut popped, BATCH));
        assert_eq!(result.unwrap_or(0), popped.len());
        let mut record = self.record.borrow_mut();
        record.popped_itself = Some(popped.len());
        let in_a_row = consumer.bypassed() == 0;
        assert!(
            popped.len() >= record.before.len().min(if in_a_row { BATCH } else { 1 }),
            "popped {}",
            popped.len()
        );
        record.popped.extend(popped.into_iter().map(|item| item.0));
    }

    fn call_pop(&self, step: impl FnOnce(&mut dyn FnMut())) {
        let mut consumer = self.consumer.borrow_mut();
        let consumer = consumer.as_mut().unwrap();
        let mut popped = None;
        step(&mut || {
            popped = match self.scene.outer {
                Outer::TryPop => consumer.try_pop().ok(),
                Outer::Pop => consumer.pop().ok(),
                Outer::PopTimeout => consumer.pop_timeout(Duration::from_secs(3600)).ok(),
                _ => consumer.pop_timeout(Duration::from_micros(1)).ok(),
            };
        });
        let mut record = self.record.borrow_mut();
        record.popped_itself = Some(usize::from(popped.is_some()));
        record.popped.extend(popped.map(|item| item.0));
    }

    fn new_item(&self) -> Item {
        let mut record = self.record.borrow_mut();
        record.items += 1;
        Item(record.items - 1)
    }

    /// Interrupts the call.
    pub(crate) fn interrupt(&self) {
        match self.scene.nested {
            Nested::PushOne => _ = self.push(self.scene.who),
            Nested::PushUntilRefused => while self.push(self.scene.who) {},
            Nested::OtherPushes => self.on_another_thread(|play| _ = play.push(Who::Other)),
            Nested::OtherPops => {
                while self.push(self.scene.who) {}
                self.on_another_thread(|play| play.pop(usize::MAX));
            }
        }
    }

    /// Called when the call is about to sleep: does something that lets it go on.
    pub(crate) fn rescue(&self) {
        if self.scene.outer == Outer::Push {
            self.on_another_thread(|play| play.pop(1));
        } else {
            // A handler pushes on this very thread, while it sleeps.
            handle(libc::SIGUSR1, push_from_a_handler);
            *self.timer.borrow_mut() =
                Some(Timer::on_this_thread(libc::SIGUSR1, Duration::from_millis(1)));
        }
    }

    pub(crate) fn awake(&self) {
        self.timer.take();
    }

    /// Runs `body` on another thread, to its end.
    fn on_another_thread(&self, body: fn(&Self)) {
        struct Sent<'a>(&'a Play);
        // SAFETY: this thread waits meanwhile.
        unsafe impl Send for Sent<'_> {}
        impl Sent<'_> {
            fn get(self) -> *const Play {
                self.0
            }
        }
        let sent = Sent(self);
        // SAFETY: this thread waits meanwhile, so it is valid.
        thread::scope(|scope| _ = scope.spawn(move || body(unsafe { &*sent.get() })));
    }

    fn pop(&self, count: usize) {
        let mut consumer = self.consumer.borrow_mut();
        let consumer = consumer.as_mut().unwrap();
        let mut record = self.record.borrow_mut();
        record.popped.extend(consumer.try_iter().take(count).map(|item| item.0));
        record.reported += consumer.take_lost();
    }

    /// Pushes one item, and checks that it was not refused without cause, or accepted beyond the
    /// bound.
    fn push(&self, who: Who) -> bool {
        let Ok(producer) = self.producer.try_borrow() else { return false };
        let Some(producer) = producer.as_ref() else { return false };
        let item = self.new_item();
        let number = item.0;
        set_errno(MARK);
        let scene = &self.scene;
        let counts = scene.outer == Outer::TryPushOrCount;
        let result =
            if counts { producer.try_push_or_count(item) } else { producer.try_push(item) };
        assert_eq!(errno(), MARK);
        let mut record = self.record.borrow_mut();
        let was_closed = record.closed;
        let in_use = record.before.len() + record.accepted.len() - record.popped.len();
        let (in_ring, sure_in_ring) = match scene.in_bypass {
            in_bypass if record.popped.is_empty() && scene.outer.pops() == 0 => {
                (in_use - in_bypass, in_use - in_bypass)
            }
            in_bypass => (in_use, in_use.saturating_sub(in_bypass)),
        };
        let moves = who == Who::Other && scene.who == Who::Other && scene.outer.pops() != 0;
        let both = scene.capacity + BYPASS;
        match &result {
            Ok(()) => {
                assert!(!was_closed, "accepted after it was closed");
                let popping = scene.outer.pops();
                let bounded = in_use < both + popping
                    && (who != Who::Other || moves || sure_in_ring < scene.capacity + popping);
                assert!(bounded, "accepted beyond the bound, with {in_use} in use");
                record.accepted.push(number);
            }
            Err(TryPushError::Full(_)) => {
                let pushing = scene.outer.pushes();
                let full = if who == Who::Other {
                    in_ring + pushing >= scene.capacity
                } else {
                    in_use + pushing >= both
                };
                assert!(full, "refused with {in_use} in use");
                record.lost += u64::from(counts);
            }
            Err(TryPushError::Closed(_)) => {
                assert!(scene.outer.closes(), "no call has closed it");
                record.closed = true;
            }
        }
        drop(record);
        result.is_ok()
    }

    /// Checks after the call that everything is there that must be.
    pub(crate) fn check(self: Box<Self>) {
        self.check_own();
        let accounted = self.consumer.borrow().is_some();
        if accounted {
            self.drain();
            self.check_order();
            self.check_room();
        }
        let items = self.record.borrow().items;
        drop(self);
        for (number, drops) in DROPS[..items].iter().enumerate() {
            assert_eq!(drops.load(Ordering::Relaxed), 1, "drops of item {number}");
        }
    }

    fn drain(&self) {
        self.pop(usize::MAX);
        let error = self.consumer.borrow_mut().as_mut().unwrap().try_pop().err();
        assert_eq!(
            error.map(|error| error.is_closed()),
            Some(self.scene.outer.closes()),
            "after the last item"
        );
        let record = self.record.borrow();
        assert_eq!(record.reported, record.lost, "how many were lost");
    }

    /// Checks that the call itself did only what it may do.
    fn check_own(&self) {
        let (record, scene) = (self.record.borrow(), &self.scene);
        if record.popped_itself == Some(0) {
            assert!(record.before.is_empty(), "popped nothing from a queue with items");
            assert!(!matches!(scene.outer, Outer::Pop | Outer::PopTimeout), "gave up");
        }
        if record.own_refused {
            let inside = scene.who != Who::Other;
            let in_use = record.before.len() + record.accepted.len() + record.own.len();
            let room = match scene.outer {
                Outer::TryPushWithin => scene.limit() + scene.in_bypass,
                _ if inside => scene.capacity + BYPASS,
                _ => scene.capacity + scene.in_bypass,
            };
            assert!(in_use >= room, "refused with {in_use} in use");
            assert!(inside || scene.outer != Outer::Push, "push gave up");
        }
    }

    fn check_order(&self) {
        let mut record = self.record.borrow_mut();
        let popped = std::mem::take(&mut record.popped);
        // Items in the bypass hide which ones are in the ring, and pops of others make room.
        if self.scene.outer == Outer::TryPushWithin
            && self.scene.in_bypass == 0
            && self.scene.nested != Nested::OtherPops
        {
            let place = popped.iter().position(|number| record.own.contains(number));
            assert!(
                place.is_none_or(|place| place < self.scene.limit()),
                "accepted beyond the limit"
            );
        }
        let overtaken =
            popped.iter().take(record.before.len()).any(|number| record.own.contains(number));
        assert!(!overtaken, "the call's own item overtook others");
        let (own, popped): (Vec<_>, Vec<_>) =
            popped.into_iter().partition(|number| record.own.contains(number));
        assert_eq!(own, record.own, "the call's own items are lost or out of order");
        assert!(
            popped.iter().eq(record.before.iter().chain(&record.accepted)),
            "{popped:?} popped of {:?}",
            record.accepted
        );
        record.before.clear();
        record.accepted.clear();
    }

    /// Checks that all slots can be used again.
    fn check_room(&self) {
        let producer = self.producer.borrow();
        let Some(producer) = producer.as_ref().filter(|producer| !producer.is_closed()) else {
            return;
        };
        let pushed = std::iter::from_fn(|| producer.try_push(self.new_item()).ok()).count();
        assert_eq!(pushed, self.scene.capacity + BYPASS, "slots are lost");
        self.pop(usize::MAX);
        assert_eq!(self.record.borrow().popped.len(), pushed);
    }
}

extern "C" fn push_from_a_handler(_: libc::c_int) {
    // SAFETY: the play is valid while its call runs, which alone is interrupted.
    let play = unsafe { &*PLAY.load(Ordering::SeqCst) };
    if play.record.borrow().accepted.is_empty() {
        assert!(play.push(Who::Consumer));
    }
}
