//! Every item is dropped exactly once, whatever its destructor does.
#![cfg(not(bywash_loom))]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use bywash::{StaticQueue, TryPushError};
use support::{Tally, Tracked};

/// Returns the message that `f` panics with, if it panics.
fn panic_of(f: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(f)).err()?;
    Some(
        payload
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| (*payload.downcast::<&str>().unwrap()).into()),
    )
}

/// An item whose destructor panics if armed.
struct Bomb<'a> {
    tracked: Tracked<'a>,
    armed: bool,
}

impl Drop for Bomb<'_> {
    fn drop(&mut self) {
        assert!(!self.armed, "{}", self.tracked.id);
    }
}

/// Every way to arm `count` bombs.
fn armings(count: u32) -> impl Iterator<Item = Vec<bool>> {
    (0..1_u32 << count).map(move |bits| (0..count).map(|bit| bits >> bit & 1 == 1).collect())
}

/// The name of the first bomb that is armed.
fn first(armed: &[bool]) -> Option<String> {
    armed.iter().position(|&armed| armed).map(|id| id.to_string())
}

/// Without `std` a second panic cannot be caught.
fn panics_allowed() -> usize {
    if cfg!(feature = "std") { usize::MAX } else { 1 }
}

fn few(armed: &[bool]) -> bool {
    armed.iter().filter(|&&armed| armed).count() <= panics_allowed()
}

#[test]
fn a_static_queue_that_never_had_a_consumer_drops_its_items() {
    let tally = Tally::new();
    let queue = StaticQueue::<_, 3, 0>::new();
    (0..3).for_each(|_| queue.try_push(tally.item()).unwrap());
    assert!(queue.try_push(tally.item()).unwrap_err().is_full());
    assert_eq!(tally.dropped(), 1);
    drop(queue);
    tally.assert_each_dropped_once(4);
}

#[test]
fn a_static_queue_whose_consumer_was_forgotten_drops_its_items_all_the_same() {
    let tally = Tally::new();
    let queue = StaticQueue::<_, 2, 2>::new();
    let mut consumer = queue.consumer().unwrap();
    assert!(consumer.try_pop().is_err());
    while queue.try_push(tally.item()).is_ok() {}
    std::mem::forget(consumer);
    assert_eq!((queue.is_closed(), tally.dropped()), (false, 1));
    let in_bypass = queue.bypassed() as usize;
    drop(queue);
    tally.assert_each_dropped_once(2 + in_bypass + 1);
}

#[test]
fn the_consumer_of_a_static_queue_drops_what_is_left() {
    let tally = Tally::new();
    let queue = StaticQueue::<_, 3, 2>::new();
    let mut consumer = queue.consumer().unwrap();
    assert!(consumer.try_pop().is_err());
    let accepted =
        std::iter::repeat_with(|| queue.try_push(tally.item())).take_while(Result::is_ok).count();
    drop(consumer.try_pop());
    drop(consumer);
    tally.assert_each_dropped_once(accepted + 1);
}

#[test]
fn a_static_queue_with_any_bombs_in_it_drops_each_once() {
    for armed in armings(4).filter(|armed| few(armed)) {
        let tally = Tally::new();
        let queue = StaticQueue::<_, 4, 0>::new();
        for &armed in &armed {
            assert!(queue.try_push(Bomb { tracked: tally.item(), armed }).is_ok());
        }
        assert_eq!(panic_of(|| drop(queue)), first(&armed));
        tally.assert_each_dropped_once(4);
    }
}

#[test]
fn a_static_queue_can_be_claimed_again_after_a_bomb_in_the_consumers_drop() {
    for armed in armings(3).filter(|armed| few(armed)) {
        let tally = Tally::new();
        let queue = StaticQueue::<_, 3, 0>::new();
        let consumer = queue.consumer();
        for &armed in &armed {
            assert!(queue.try_push(Bomb { tracked: tally.item(), armed }).is_ok());
        }
        assert_eq!(panic_of(|| drop(consumer)), first(&armed));
        tally.assert_each_dropped_once(3);
        assert!(queue.is_closed() && queue.is_empty());
        let mut consumer = queue.consumer().expect("it was given back");
        assert!(queue.try_push(Bomb { tracked: tally.item(), armed: false }).is_ok());
        assert_eq!(consumer.try_pop().map(|bomb| bomb.tracked.id), Ok(3));
    }
}

/// An item of a `static` queue whose destructor pushes the next generation into it.
struct Descendant(u32);

static FAMILY: StaticQueue<Descendant, 2, 1> = StaticQueue::new();
static BORN: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

impl Drop for Descendant {
    fn drop(&mut self) {
        if let Some(generation) = self.0.checked_sub(1) {
            BORN.fetch_add(1, Ordering::Relaxed);
            if let Err(TryPushError::Closed(_)) = FAMILY.try_push(Descendant(generation)) {
                REFUSED.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn destructors_that_push_into_the_static_queue_that_drops_them_end() {
    let mut consumer = FAMILY.consumer().unwrap();
    FAMILY.try_push(Descendant(5)).ok().unwrap();
    FAMILY.try_push(Descendant(5)).ok().unwrap();
    // Each dropped item leaves its child in the queue, until an item has none.
    assert_eq!(consumer.try_iter().count(), 12);
    assert_eq!((BORN.load(Ordering::Relaxed), REFUSED.load(Ordering::Relaxed)), (10, 0));
    FAMILY.try_push(Descendant(3)).ok().unwrap();
    drop(consumer);
    // The closed queue refused the child, then the child's own child, and so on.
    assert_eq!((BORN.load(Ordering::Relaxed), REFUSED.load(Ordering::Relaxed)), (13, 3));
    assert!(FAMILY.is_closed() && FAMILY.is_empty());
}

#[test]
fn items_without_a_size_are_dropped_once_each() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let queue = StaticQueue::<_, 5, 0>::new();
    let mut consumer = queue.consumer().unwrap();
    (0..5).for_each(|_| queue.try_push(Nothing).ok().unwrap());
    drop(queue.try_push(Nothing));
    assert_eq!(DROPS.load(Ordering::Relaxed), 1);
    drop(consumer.try_pop());
    assert_eq!(DROPS.load(Ordering::Relaxed), 2);
    drop(consumer);
    assert_eq!(DROPS.load(Ordering::Relaxed), 6);
    drop(queue);
    assert_eq!(DROPS.load(Ordering::Relaxed), 6);
}

#[cfg(feature = "alloc")]
mod on_the_heap {
    use super::*;
    use bywash::{Builder, Consumer, Producer, bounded};
    use std::sync::Arc;

    /// A queue with five items in it; with `std` two of them are in the bypass.
    fn five<T>(mut item: impl FnMut(usize) -> T) -> (Producer<T>, Consumer<T>) {
        let in_bypass = if cfg!(feature = "std") { 2 } else { 0 };
        let (producer, mut consumer) = Builder::new(5 - in_bypass).bypass(in_bypass).build();
        assert!(consumer.try_pop().is_err());
        (0..5).for_each(|place| producer.try_push(item(place)).ok().unwrap());
        assert_eq!(producer.bypassed() as usize, in_bypass);
        (producer, consumer)
    }

    #[test]
    fn popped_left_and_refused_items_are_dropped_once_each() {
        for popped in 0..=5 {
            let tally = Tally::new();
            let (producer, mut consumer) = five(|_| tally.item());
            assert!(producer.try_push(tally.item()).unwrap_err().is_full());
            assert!(consumer.try_iter().take(popped).map(|item| item.id).eq(0..popped));
            assert_eq!(tally.dropped(), 1 + popped);
            drop(consumer);
            tally.assert_each_dropped_once(6);
            assert!(producer.try_push(tally.item()).unwrap_err().is_closed());
            drop(producer);
            tally.assert_each_dropped_once(7);
        }
    }

    #[test]
    fn items_left_by_the_producers_are_dropped_with_the_consumer() {
        let tally = Tally::new();
        let (producer, consumer) = five(|_| tally.item());
        drop(producer);
        assert_eq!(tally.dropped(), 0);
        drop(consumer);
        tally.assert_each_dropped_once(5);
    }

    #[test]
    fn items_left_are_dropped_while_unwinding() {
        let tally = Tally::new();
        let (producer, consumer) = five(|_| tally.item());
        let unwound = panic_of(|| {
            let _consumer = consumer;
            panic!("outer");
        });
        assert_eq!(unwound.as_deref(), Some("outer"));
        tally.assert_each_dropped_once(5);
        assert!(producer.is_closed());
    }

    #[test]
    fn a_panic_in_the_callers_loop_leaves_the_rest_in_the_queue() {
        let tally = Tally::new();
        let (_producer, mut consumer) = five(|_| tally.item());
        let unwound =
            panic_of(|| consumer.try_iter().for_each(|item| assert!(item.id < 2, "enough")));
        assert_eq!(unwound.as_deref(), Some("enough"));
        assert_eq!(tally.dropped(), 3);
        assert!(consumer.try_iter().map(|item| item.id).eq(3..5));
        tally.assert_each_dropped_once(5);
    }

    #[test]
    fn whichever_destructors_panic_in_the_consumers_drop_each_item_is_dropped_once() {
        for armed in armings(5).filter(|armed| few(armed)) {
            let tally = Tally::new();
            let (producer, consumer) =
                five(|place| Bomb { tracked: tally.item(), armed: armed[place] });
            assert_eq!(panic_of(|| drop(consumer)), first(&armed), "the first panic goes on");
            tally.assert_each_dropped_once(5);
            assert!(producer.is_closed() && producer.is_empty());
            assert!(
                producer
                    .try_push(Bomb { tracked: tally.item(), armed: false })
                    .unwrap_err()
                    .is_closed()
            );
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn whichever_destructors_panic_while_unwinding_the_process_lives_and_the_outer_panic_goes_on() {
        for armed in armings(5) {
            let tally = Tally::new();
            let (producer, consumer) =
                five(|place| Bomb { tracked: tally.item(), armed: armed[place] });
            let unwound = panic_of(|| {
                let _consumer = consumer;
                panic!("outer");
            });
            assert_eq!(unwound.as_deref(), Some("outer"));
            tally.assert_each_dropped_once(5);
            assert!(producer.is_closed());
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn panics_whose_payloads_panic_when_dropped_do_not_abort() {
        struct Payload;
        impl Drop for Payload {
            fn drop(&mut self) {
                panic!("in the payload");
            }
        }
        struct Item;
        impl Drop for Item {
            fn drop(&mut self) {
                std::panic::panic_any(Payload);
            }
        }
        let (_producer, consumer) = five(|_| Item);
        let payload = catch_unwind(AssertUnwindSafe(|| drop(consumer))).unwrap_err();
        assert!(payload.is::<Payload>());
        std::mem::forget(payload);
    }

    #[test]
    fn a_popped_item_whose_destructor_panics_leaves_the_queue_usable() {
        let tally = Tally::new();
        let (producer, mut consumer) = bounded(2);
        for id in 0..10 {
            producer.try_push(Bomb { tracked: tally.item(), armed: true }).ok().unwrap();
            assert_eq!(panic_of(|| drop(consumer.try_pop())), Some(id.to_string()));
            assert!(producer.is_empty() && !producer.is_closed());
        }
        tally.assert_each_dropped_once(10);
    }

    #[test]
    fn a_refused_item_whose_destructor_panics_leaves_the_queue_usable() {
        let tally = Tally::new();
        let (producer, mut consumer) = bounded(1);
        producer.try_push(Bomb { tracked: tally.item(), armed: false }).ok().unwrap();
        let refused =
            panic_of(|| drop(producer.try_push(Bomb { tracked: tally.item(), armed: true })));
        assert_eq!(refused.as_deref(), Some("1"));
        assert_eq!(consumer.try_pop().map(|bomb| bomb.tracked.id), Ok(0));
        tally.assert_each_dropped_once(2);
    }

    /// An item whose destructor pushes a child into the queue that it came through.
    struct Parent<'a> {
        producer: Producer<Parent<'a>>,
        generations: u32,
        tally: &'a Tally,
        closed: &'a AtomicUsize,
        _tracked: Tracked<'a>,
    }

    impl<'a> Parent<'a> {
        fn new(
            producer: Producer<Self>,
            generations: u32,
            tally: &'a Tally,
            closed: &'a AtomicUsize,
        ) -> Self {
            Self { producer, generations, tally, closed, _tracked: tally.item() }
        }
    }

    impl Drop for Parent<'_> {
        fn drop(&mut self) {
            if let Some(generations) = self.generations.checked_sub(1) {
                let child =
                    Parent::new(self.producer.clone(), generations, self.tally, self.closed);
                let refused = self.producer.try_push(child).err();
                let closed = refused.as_ref().is_some_and(TryPushError::is_closed);
                self.closed.fetch_add(closed.into(), Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn children_that_destructors_push_on_the_consumers_thread_are_dropped_once_each() {
        for (capacity, bypass) in [(1, 0), (1, 1), (2, 2), (3, 1)] {
            let (tally, closed) = (Tally::new(), AtomicUsize::new(0));
            let (producer, mut consumer) = Builder::new(capacity).bypass(bypass).build();
            let parent = |generations| Parent::new(producer.clone(), generations, &tally, &closed);
            (0..capacity).for_each(|_| producer.try_push(parent(4)).ok().unwrap());
            while let Ok(item) = consumer.try_pop() {
                // Fills the slot that was freed, so that the child must take the bypass, or is
                // refused.
                if item.generations > 0 {
                    drop(producer.try_push(parent(0)));
                }
                drop(item);
            }
            let items = tally.dropped();
            assert!(items >= capacity * 6, "{items}");
            tally.assert_each_dropped_once(items);
            assert_eq!(closed.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn items_dropped_by_the_consumers_drop_push_into_a_closed_queue() {
        let (tally, closed) = (Tally::new(), AtomicUsize::new(0));
        let (producer, consumer) = bounded(4);
        (0..4).for_each(|_| {
            producer.try_push(Parent::new(producer.clone(), 3, &tally, &closed)).ok().unwrap();
        });
        drop(consumer);
        tally.assert_each_dropped_once(16);
        assert_eq!(closed.load(Ordering::Relaxed), 12);
        assert!(producer.is_empty());
    }

    #[test]
    fn what_items_own_on_the_heap_is_freed() {
        let owned = Arc::new(());
        let (producer, mut consumer) =
            five(|place| (Box::new(owned.clone()), "x".repeat(place * 100)));
        assert_eq!(Arc::strong_count(&owned), 6);
        let (_, text) = consumer.try_iter().nth(3).unwrap();
        assert_eq!(text.len(), 300);
        assert_eq!(Arc::strong_count(&owned), 2);
        drop((producer, consumer));
        assert_eq!(Arc::strong_count(&owned), 1);
    }
}
