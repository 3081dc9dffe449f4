//! Models of the algorithm, explored by loom: `RUSTFLAGS="--cfg bywash_loom" cargo test --release --test
//! loom`.
//!
//! Each explores every schedule with up to [`PREEMPTIONS`] preemptions, and every value that a load
//! may return. The names in brackets are labels of the ordering table in `src/ring.rs`. They name
//! the operations that the model fails without.
#![cfg(bywash_loom)]

use std::time::Duration;

use bywash::{Builder, Consumer, Domain, PopError, Producer, PushError, TryPopError};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

const PREEMPTIONS: usize = 3;

fn model(preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(preemptions));
    builder.max_branches = 20_000;
    builder.check(f);
}

/// An item with two halves on the heap, so that a torn or early read shows, and a lost one leaks.
type Item = Box<(usize, usize)>;

fn item(number: usize) -> Item {
    Box::new((number, !number))
}

fn number(item: Item) -> usize {
    assert_eq!(item.0, !item.1);
    item.0
}

fn queue(capacity: usize, bypass: usize) -> (Producer<Item>, Consumer<Item>) {
    Builder::new(capacity).bypass(bypass).build()
}

/// Everything that can be popped without waiting.
fn drain(consumer: &mut Consumer<Item>) -> Vec<usize> {
    consumer.try_iter().map(number).collect()
}

/// [claim:C] [publish:S] [stamp:L]
#[test]
fn two_pushes_and_a_pop_lose_nothing() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(2, 0);
        let threads: Vec<_> = (1..=2)
            .map(|i| {
                let producer = producer.clone();
                thread::spawn(move || producer.try_push(item(i)).unwrap())
            })
            .collect();
        let mut popped = drain(&mut consumer);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        popped.extend(drain(&mut consumer));
        popped.sort();
        assert_eq!(popped, [1, 2]);
    });
}

/// A producer pushes three items into a ring of 1 while the consumer pops.
fn reuse_of_a_slot(push: impl Fn(&Producer<Item>, Item) -> bool + Clone + Send + Sync + 'static) {
    model(PREEMPTIONS, move || {
        let (producer, mut consumer) = queue(1, 0);
        let push = push.clone();
        let thread = thread::spawn(move || {
            (1..=3).filter(|&i| push(&producer, item(i))).collect::<Vec<_>>()
        });
        let mut popped = drain(&mut consumer);
        popped.extend(drain(&mut consumer));
        let pushed = thread.join().unwrap();
        popped.extend(drain(&mut consumer));
        assert_eq!(pushed, popped);
        assert_eq!(pushed[0], 1);
    });
}

/// [limit:H] [head:S]: a slot is written again only when the consumer is done with it.
#[test]
fn a_slot_is_used_again() {
    reuse_of_a_slot(|producer, item| producer.try_push(item).is_ok());
}

/// [limit:H] of a claim within a smaller bound.
#[test]
fn a_slot_is_used_again_within_a_limit() {
    reuse_of_a_slot(|producer, item| producer.try_push_within(item, 1).is_ok());
}

/// [head:S] of a batch, which frees several slots at once.
#[test]
fn a_slot_is_used_again_after_a_batch() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(2, 0);
        let thread = thread::spawn(move || {
            (1..=3).filter(|&i| producer.try_push(item(i)).is_ok()).collect::<Vec<_>>()
        });
        let mut popped = Vec::new();
        let _ = consumer.try_pop_many(&mut popped, 2);
        let pushed = thread.join().unwrap();
        let _ = consumer.try_pop_many(&mut popped, 3);
        let _ = consumer.try_pop_many(&mut popped, 3);
        assert_eq!(pushed, popped.into_iter().map(number).collect::<Vec<_>>());
    });
}

/// [claim:L] [limit:S]: one producer raises the limit, the other claims by it.
#[test]
fn a_limit_raised_by_another_is_good() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(2, 0);
        producer.try_push(item(0)).unwrap();
        producer.try_push(item(1)).unwrap();
        let threads: Vec<_> = (2..=3)
            .map(|i| {
                let producer = producer.clone();
                thread::spawn(move || producer.try_push(item(i)).is_ok())
            })
            .collect();
        let mut popped = drain(&mut consumer);
        let accepted =
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|&ok| ok).count();
        popped.extend(drain(&mut consumer));
        assert_eq!(popped.len(), 2 + accepted);
        assert_eq!(popped[..2], [0, 1]);
    });
}

/// [limit:H] of a claim within a smaller bound, which holds whatever two producers and a consumer
/// do.
#[test]
fn fewer_than_the_limit_are_in() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(4, 0);
        let threads: Vec<_> = (1..=2)
            .map(|i| {
                let producer = producer.clone();
                thread::spawn(move || producer.try_push_within(item(i), 1).is_ok())
            })
            .collect();
        let mut popped = Vec::from_iter(consumer.try_pop().map(number));
        let most = 1 + popped.len();
        let pushed = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|&pushed| pushed)
            .count();
        popped.extend(drain(&mut consumer));
        assert_eq!(popped.len(), pushed);
        assert!((1..=most).contains(&pushed));
    });
}

/// A queue of two threads, with room for one item more than the first thread ever has in it. The
/// first thread pushes an item and pops one, twice. At the same time the second thread runs
/// `other`.
///
/// The second thread has seen nothing of the first one's pops. So whichever tail it reads, it must
/// read a head that fits, or it takes the ring for full.
fn while_another_pushes_and_pops(
    capacity: usize,
    other: impl Fn(Producer<Item>, Domain) + Clone + Send + Sync + 'static,
) {
    model(PREEMPTIONS, move || {
        let (producer, mut consumer) = queue(capacity, 0);
        let (second, domain, other) = (producer.clone(), consumer.domain(), other.clone());
        let thread = thread::spawn(move || other(second, domain));
        for i in 1..=2 {
            if producer.try_push(item(i)).is_ok() {
                consumer.try_pop().expect("a push has finished");
            }
        }
        thread.join().unwrap();
    });
}

/// [tail:L] [tail:F]
#[test]
fn a_push_is_refused_by_a_full_ring_only() {
    while_another_pushes_and_pops(2, |producer, _| producer.try_push(item(3)).unwrap());
}

/// [tail:L] of a claim within a smaller bound.
#[test]
fn a_push_within_a_limit_is_refused_at_the_limit_only() {
    while_another_pushes_and_pops(4, |producer, _| producer.try_push_within(item(3), 2).unwrap());
}

/// [tail:L] as a push in the domain sees it, which does not wait.
#[test]
fn a_push_would_deadlock_beside_a_full_ring_only() {
    while_another_pushes_and_pops(2, |producer, domain| {
        let _guard = domain.enter();
        producer.push(item(3)).unwrap();
    });
}

/// [full:L]: a ring of 2 that has one item at most is never full.
#[test]
fn full_is_true() {
    while_another_pushes_and_pops(2, |producer, _| assert!(!producer.is_full()));
}

/// [empty:H]: a ring that always has an item is never empty.
#[test]
fn empty_is_true() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(3, 0);
        producer.try_push(item(0)).unwrap();
        let other = producer.clone();
        let thread = thread::spawn(move || {
            assert!(!other.is_empty());
            assert!((1..=3).contains(&other.len()));
        });
        for i in 1..=2 {
            producer.try_push(item(i)).unwrap();
            consumer.try_pop().expect("a push has finished");
        }
        thread.join().unwrap();
    });
}

/// C6: a finished push is popped, even if an earlier slot in the ring is claimed and not published.
#[test]
fn a_stopped_push_hides_no_other() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(2, 0);
        let other = producer.clone();
        let stopped = thread::spawn(move || other.try_push(item(1)).unwrap());
        producer.try_push(item(2)).unwrap();
        let first = number(consumer.try_pop().expect("2 was pushed before"));
        let mut popped = vec![first];
        if first == 1 {
            assert_eq!(number(consumer.try_pop().expect("2 was pushed before")), 2);
            popped.push(2);
        }
        stopped.join().unwrap();
        popped.extend(drain(&mut consumer));
        popped.sort();
        assert_eq!(popped, [1, 2]);
        // All slots are free again.
        producer.try_push(item(3)).unwrap();
        producer.try_push(item(4)).unwrap();
        assert_eq!(drain(&mut consumer), [3, 4]);
    });
}

/// The consumer never pops `later` before `earlier`.
fn assert_order(popped: &[usize], earlier: usize, later: usize) {
    let position = |number| popped.iter().position(|&other| other == number);
    if let (Some(earlier), Some(later)) = (position(earlier), position(later)) {
        assert!(earlier < later, "{popped:?}");
    }
}

/// C3 while slots are skipped: one producer pushes 1 and then 2, with the claim of 0 anywhere.
/// [stamp:L] B3
fn order_around_a_stopped_push(capacity: usize) {
    model(2, move || {
        let (producer, mut consumer) = queue(capacity, 0);
        let other = producer.clone();
        let stopped = thread::spawn(move || other.try_push(item(0)).is_ok());
        let thread =
            thread::spawn(move || (1..=2).filter(|&i| producer.try_push(item(i)).is_ok()).count());
        let mut popped = Vec::new();
        for _ in 0..2 {
            popped.extend(consumer.try_pop().map(number));
        }
        let accepted = stopped.join().unwrap() as usize + thread.join().unwrap();
        popped.extend(drain(&mut consumer));
        assert_eq!(popped.len(), accepted);
        assert_order(&popped, 1, 2);
    });
}

#[test]
fn order_holds_around_a_stopped_push_in_4() {
    order_around_a_stopped_push(4);
}

#[test]
fn order_holds_around_a_stopped_push_in_2() {
    order_around_a_stopped_push(2);
}

/// C3 through the bypass: the consumer's own push, while the ring is full, against a second
/// producer's.
#[test]
fn the_bypass_keeps_order_with_another_producer() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(1, 2);
        consumer.bind();
        let other = producer.clone();
        let done = Arc::new(AtomicBool::new(false));
        let is_done = done.clone();
        producer.try_push(item(0)).unwrap();
        let thread = thread::spawn(move || {
            let late = is_done.load(Ordering::Acquire);
            other.try_push(item(if late { 2 } else { 3 })).is_ok()
        });
        let mut popped = Vec::new();
        // In the bypass or in the ring, depending on which thread was faster.
        producer.push(item(1)).unwrap();
        popped.extend(consumer.try_pop().map(number));
        done.store(true, Ordering::Release);
        popped.extend(drain(&mut consumer));
        thread.join().unwrap();
        popped.extend(drain(&mut consumer));
        assert_eq!(popped[0], 0);
        assert_order(&popped, 1, 2);
        assert!(popped.contains(&1));
    });
}

/// [publish:S] [stamp:L] of batches: one claim for as many as fit, one release for all that lie in
/// a row.
#[test]
fn batches_lose_nothing_and_keep_order() {
    model(2, || {
        let (producer, mut consumer) = queue(2, 0);
        let other = producer.clone();
        let batch = thread::spawn(move || {
            let mut items = (1..=3).map(item).collect();
            let pushed: usize =
                (0..2).map(|_| producer.try_push_many(&mut items).unwrap_or(0)).sum();
            assert_eq!(pushed + items.len(), 3);
            assert_eq!(items.pop_front().map_or(4, number), pushed + 1);
            pushed
        });
        let single = thread::spawn(move || other.try_push(item(9)).is_ok());
        let mut popped = Vec::new();
        let _ = consumer.try_pop_many(&mut popped, 3);
        let _ = consumer.try_pop_many(&mut popped, 3);
        let (batch, single) = (batch.join().unwrap(), single.join().unwrap());
        while consumer.try_pop_many(&mut popped, 3).is_ok() {}
        let mut popped: Vec<_> = popped.into_iter().map(number).collect();
        assert_eq!(popped.iter().filter(|&&number| number == 9).count(), usize::from(single));
        popped.retain(|&number| number != 9);
        assert!(popped.into_iter().eq(1..=batch));
    });
}

/// B3 for batches: no item of a batch overtakes a finished push into the bypass.
#[test]
fn a_batch_does_not_overtake_the_bypass() {
    model(2, || {
        let (producer, mut consumer) = queue(2, 1);
        let domain = consumer.domain();
        producer.try_push_many(&mut [item(0), item(1)].into()).unwrap();
        let inside = producer.clone();
        let first = thread::spawn(move || {
            let _guard = domain.enter();
            inside.try_push(item(2)).unwrap();
            // After the item in the bypass, or the one in the ring.
            inside.try_push(item(3)).is_ok()
        });
        let mut popped = Vec::new();
        for _ in 0..3 {
            let _ = consumer.try_pop_many(&mut popped, 2);
        }
        let last = first.join().unwrap();
        while consumer.try_pop_many(&mut popped, 2).is_ok() {}
        assert!(popped.into_iter().map(number).eq(0..if last { 4 } else { 3 }));
    });
}

/// A batch causes one wake.
#[test]
fn a_batch_wakes_a_pop() {
    model(2, || {
        let (producer, mut consumer) = queue(2, 0);
        let thread = thread::spawn(move || {
            let mut popped = Vec::new();
            while popped.len() < 2 {
                consumer.pop_many(&mut popped, 2).unwrap();
            }
            popped.into_iter().map(number).collect::<Vec<_>>()
        });
        assert_eq!(producer.try_push_many(&mut [item(1), item(2)].into()), Ok(2));
        // The producer must not close the queue before, because that would wake, too.
        assert_eq!(thread.join().unwrap(), [1, 2]);
    });
}

/// The pop of a batch causes one wake for its room.
#[test]
fn a_batch_popped_wakes_a_push() {
    model(2, || {
        let (producer, mut consumer) = queue(2, 0);
        producer.try_push_many(&mut [item(0), item(1)].into()).unwrap();
        let thread =
            thread::spawn(move || producer.push_many(&mut [item(2), item(3)].into()).unwrap());
        let mut popped = Vec::new();
        assert_eq!(consumer.try_pop_many(&mut popped, 2), Ok(2));
        // The consumer must not pop before, because a pop that finds nothing would wake, too.
        thread.join().unwrap();
        while consumer.try_pop_many(&mut popped, 2).is_ok() {}
        assert!(popped.into_iter().map(number).eq(0..4));
    });
}

/// As before, but another thread, inside the domain, pushes into the bypass. This push finishes
/// before the push into the ring that the consumer may see first.
#[test]
fn a_push_from_the_domain_is_not_overtaken() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(1, 1);
        let domain = consumer.domain();
        let (inside, outside) = (producer.clone(), producer.clone());
        let done = Arc::new(AtomicBool::new(false));
        let is_done = done.clone();
        producer.try_push(item(0)).unwrap();
        let threads = [
            thread::spawn(move || {
                let _guard = domain.enter();
                inside.try_push(item(1)).unwrap();
                done.store(true, Ordering::Release);
            }),
            thread::spawn(move || {
                let late = is_done.load(Ordering::Acquire);
                let _ = outside.try_push(item(if late { 2 } else { 3 }));
            }),
        ];
        let mut popped = Vec::new();
        for _ in 0..3 {
            popped.extend(consumer.try_pop().map(number));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        popped.extend(drain(&mut consumer));
        assert_eq!(popped[0], 0);
        assert_order(&popped, 1, 2);
        assert!(popped.contains(&1));
    });
}

/// Two threads in the bypass at once: the one that was the consumer's, and the one that is.
#[test]
fn a_rebound_consumer_shares_the_bypass_with_the_old_thread() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(1, 2);
        producer.try_push(item(0)).unwrap();
        let domain = consumer.domain();
        let old = producer.clone();
        // The old thread, from when it was the consumer's, sees the same as a thread inside the
        // domain.
        let thread = thread::spawn(move || {
            let _guard = domain.enter();
            old.try_push(item(1)).unwrap();
        });
        consumer.bind();
        producer.push(item(2)).unwrap();
        let mut popped = drain(&mut consumer);
        thread.join().unwrap();
        popped.extend(drain(&mut consumer));
        assert_eq!(popped[0], 0);
        popped.sort();
        assert_eq!(popped, [0, 1, 2]);
    });
}

/// [sleep:F] [notify:L]: a push finds a consumer that sleeps.
#[test]
fn a_push_wakes_a_pop() {
    model(2, || {
        let (producer, mut consumer) = queue(2, 0);
        let thread = thread::spawn(move || {
            producer.try_push(item(1)).unwrap();
            producer.try_push(item(2)).unwrap();
        });
        assert_eq!(consumer.pop().map(number), Ok(1));
        assert_eq!(consumer.pop().map(number), Ok(2));
        assert_eq!(consumer.pop().map(number), Err(PopError));
        thread.join().unwrap();
    });
}

/// As before, with two pushes, so that one is stopped between claim and publish while the other
/// wakes.
#[test]
fn one_of_two_pushes_wakes_a_pop() {
    model(2, || {
        let (producer, mut consumer) = queue(2, 0);
        let threads: Vec<_> = (1..=2)
            .map(|i| {
                let producer = producer.clone();
                thread::spawn(move || producer.try_push(item(i)).unwrap())
            })
            .collect();
        let mut popped: Vec<_> = consumer.iter().take(2).map(number).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        popped.sort();
        assert_eq!(popped, [1, 2]);
    });
}

/// A push into the bypass wakes the consumer as one into the ring does.
#[test]
fn a_push_into_the_bypass_wakes_a_pop() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(1, 1);
        let domain = consumer.domain();
        producer.try_push(item(1)).unwrap();
        let thread = thread::spawn(move || {
            let _guard = domain.enter();
            producer.try_push(item(2)).unwrap();
        });
        assert_eq!(consumer.pop().map(number), Ok(1));
        assert_eq!(consumer.pop().map(number), Ok(2));
        thread.join().unwrap();
    });
}

/// A consumer that has popped an item, and lingers in its next pop for `items` more. Time does not
/// pass in a model.
fn lingering(items: usize) -> (Producer<Item>, Consumer<Item>) {
    let (producer, mut consumer) = queue(4, 0);
    consumer.linger(Duration::from_secs(1), items);
    producer.try_push(item(0)).unwrap();
    assert_eq!(consumer.pop().map(number), Ok(0));
    (producer, consumer)
}

/// W10: whichever of two pushes makes it enough.
#[test]
fn a_push_that_makes_it_enough_wakes_a_pop_that_lingers() {
    model(2, || {
        let (producer, mut consumer) = lingering(2);
        let threads: Vec<_> = (1..=2)
            .map(|i| {
                let producer = producer.clone();
                thread::spawn(move || producer.try_push(item(i)).unwrap())
            })
            .collect();
        let mut popped = vec![number(consumer.pop().unwrap())];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        popped.extend(drain(&mut consumer));
        popped.sort();
        assert_eq!(popped, [1, 2]);
    });
}

/// W10: closing comes after a push that does not wake.
#[test]
fn closing_wakes_a_pop_that_lingers() {
    model(2, || {
        let (producer, mut consumer) = lingering(4);
        let thread = thread::spawn(move || producer.try_push(item(1)).unwrap());
        assert_eq!(consumer.pop().map(number), Ok(1));
        assert_eq!(consumer.pop().map(number), Err(PopError));
        thread.join().unwrap();
    });
}

/// W10: so does `wake_consumer`.
#[test]
fn a_pop_that_lingers_is_woken_now() {
    model(2, || {
        let (producer, mut consumer) = lingering(4);
        let thread = thread::spawn(move || {
            producer.try_push(item(1)).unwrap();
            producer.wake_consumer();
            producer
        });
        assert_eq!(consumer.pop().map(number), Ok(1));
        thread.join().unwrap();
    });
}

/// [sleep:F]: a pop finds a producer that waits for room.
#[test]
fn a_pop_wakes_a_push() {
    model(2, || {
        let (producer, mut consumer) = queue(1, 0);
        let thread = thread::spawn(move || {
            producer.push(item(1)).unwrap();
            producer.push(item(2)).unwrap();
        });
        assert_eq!(consumer.pop().map(number), Ok(1));
        assert_eq!(consumer.pop().map(number), Ok(2));
        thread.join().unwrap();
    });
}

/// Two producers sleep. The consumer pops once and then waits outside the queue until one of them
/// has pushed. Then it goes on.
#[test]
fn one_pop_lets_one_of_two_sleepers_in() {
    model(2, || {
        let (producer, mut consumer) = queue(1, 0);
        producer.try_push(item(0)).unwrap();
        let came_in = Arc::new((Mutex::new(0), Condvar::new()));
        let threads: Vec<_> = (1..=2)
            .map(|i| {
                let (producer, came_in) = (producer.clone(), came_in.clone());
                thread::spawn(move || {
                    producer.push(item(i)).unwrap();
                    *came_in.0.lock().unwrap() += 1;
                    came_in.1.notify_one();
                })
            })
            .collect();
        for expected in 1..=2 {
            number(consumer.try_pop().unwrap());
            let mut count = came_in.0.lock().unwrap();
            while *count < expected {
                count = came_in.1.wait(count).unwrap();
            }
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(drain(&mut consumer).len(), 1);
    });
}

/// [registered:L] Two slots are freed while two producers sleep: the one that is woken wakes the
/// other.
#[test]
fn a_wake_is_passed_on_while_there_is_room() {
    model(2, || {
        let (producer, mut consumer) = queue(2, 0);
        producer.try_push(item(0)).unwrap();
        producer.try_push(item(0)).unwrap();
        let threads: Vec<_> = (1..=2)
            .map(|i| {
                let producer = producer.clone();
                thread::spawn(move || producer.push(item(i)).unwrap())
            })
            .collect();
        assert_eq!(consumer.try_pop().map(number), Ok(0));
        assert_eq!(consumer.try_pop().map(number), Ok(0));
        // And now the consumer never pops again.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// C8: a producer that waits for room gets `Closed`.
#[test]
fn closing_wakes_those_who_wait_for_room() {
    model(2, || {
        let (producer, mut consumer) = queue(1, 0);
        producer.try_push(item(0)).unwrap();
        let threads: Vec<_> = (1..=2)
            .map(|i| {
                let producer = producer.clone();
                thread::spawn(move || {
                    assert!(matches!(producer.push(item(i)), Err(PushError::Closed(_))))
                })
            })
            .collect();
        consumer.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(drain(&mut consumer), [0]);
        assert_eq!(consumer.try_pop(), Err(TryPopError::Closed));
    });
}

/// [close:C]: an item that was accepted while the queue was being closed is popped before `Closed`.
#[test]
fn a_push_beside_close_is_popped_or_refused() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(2, 0);
        let threads: Vec<_> = (1..=2)
            .map(|i| {
                let producer = producer.clone();
                thread::spawn(move || producer.try_push(item(i)).is_ok())
            })
            .collect();
        consumer.close();
        // Waits for the pushes that had claimed.
        let popped = consumer.iter().map(number).count();
        let accepted =
            threads.into_iter().map(|thread| thread.join().unwrap() as usize).sum::<usize>();
        assert_eq!(popped, accepted);
    });
}

/// The drop of the last producer wakes the consumer, and comes after every push.
#[test]
fn the_last_of_two_producers_closes() {
    model(2, || {
        let (producer, mut consumer) = queue(2, 1);
        let other = producer.clone();
        let threads = [
            thread::spawn(move || producer.try_push(item(1)).unwrap()),
            thread::spawn(move || drop(other)),
        ];
        assert_eq!(consumer.pop().map(number), Ok(1));
        assert_eq!(consumer.pop().map(number), Err(PopError));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// C2: an item that is in the queue when the consumer is dropped, or comes meanwhile, is dropped
/// once.
#[test]
fn what_is_left_is_dropped_once() {
    model(PREEMPTIONS, || {
        let (producer, consumer) = Builder::new(2).bypass(1).build();
        let alive = Arc::new(());
        producer.try_push(alive.clone()).unwrap();
        let theirs = alive.clone();
        let thread = thread::spawn(move || drop(producer.try_push(theirs)));
        drop(consumer);
        thread.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

/// [close:C] [closed:L] [last:P]: a consumer that gets `Closed` sees what each producer did before.
#[test]
fn closed_tells_what_came_before() {
    model(2, || {
        let (producer, mut consumer) = queue(1, 0);
        let cells = Arc::new((UnsafeCell::new(0), UnsafeCell::new(0)));
        let (other, theirs) = (producer.clone(), cells.clone());
        let threads = [
            thread::spawn({
                let cells = cells.clone();
                move || {
                    // SAFETY: the consumer reads only after the queue is closed, which is after
                    // this.
                    cells.0.with_mut(|cell| unsafe { *cell = 1 });
                    drop(producer);
                }
            }),
            thread::spawn(move || {
                // SAFETY: as before.
                theirs.1.with_mut(|cell| unsafe { *cell = 1 });
                drop(other);
            }),
        ];
        while consumer.try_pop() == Err(TryPopError::Empty) {
            thread::yield_now();
        }
        // SAFETY: all writes came before the close.
        cells.0.with(|cell| assert_eq!(unsafe { *cell }, 1));
        // SAFETY: as before.
        cells.1.with(|cell| assert_eq!(unsafe { *cell }, 1));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Threads in a circle, each the consumer of a full queue and about to push into the next one's.
/// Without the graph of waits they would all sleep.
fn pushes_in_a_circle(count: usize, preemptions: usize) {
    model(preemptions, move || {
        let (producers, consumers): (Vec<_>, Vec<_>) = (0..count).map(|_| queue(1, 1)).unzip();
        producers.iter().for_each(|producer| producer.try_push(item(0)).unwrap());
        let mut threads = Vec::new();
        for (i, mut consumer) in consumers.into_iter().enumerate() {
            let next = producers[(i + 1) % count].clone();
            threads.push(move || {
                consumer.bind();
                next.push(item(1)).unwrap();
                drop(next);
                assert_eq!(drain(&mut consumer)[0], 0);
                consumer
            });
        }
        drop(producers);
        let first = threads.remove(0);
        let others: Vec<_> = threads.into_iter().map(thread::spawn).collect();
        let mut consumers = vec![first()];
        consumers.extend(others.into_iter().map(|thread| thread.join().unwrap()));
    });
}

/// G3
#[test]
fn two_queues_in_a_circle_do_not_deadlock() {
    pushes_in_a_circle(2, 2);
}

/// G3
#[test]
fn three_queues_in_a_circle_do_not_deadlock() {
    pushes_in_a_circle(3, 1);
}

/// G5: of two threads in a circle one is told, and the other one gets its room.
#[test]
fn one_of_two_in_a_circle_is_told() {
    model(2, || {
        let (producers, consumers): (Vec<_>, Vec<_>) = (0..2).map(|_| queue(1, 0)).unzip();
        producers.iter().for_each(|producer| producer.try_push(item(0)).unwrap());
        let mut threads = Vec::new();
        for (mut consumer, next) in consumers.into_iter().zip(producers.into_iter().rev()) {
            threads.push(move || {
                consumer.bind();
                let was_told = next.push(item(1)).is_err();
                // Both may be told before either makes room for the other.
                thread::yield_now();
                drain(&mut consumer);
                (was_told, consumer)
            });
        }
        let first = threads.remove(0);
        let second = thread::spawn(threads.remove(0));
        let (told, _consumer) = first();
        let (other_told, _consumer) = second.join().unwrap();
        assert!(!(told && other_told));
    });
}

/// An item that holds a producer of the queue that it is in, and counts its drops.
struct Holder {
    _queue: Producer<Holder>,
    _alive: Arc<()>,
}

/// [last:P] [sweep:A] [sweep:C]: what is published while the consumer goes, or afterwards,
/// is dropped once, also where it holds a producer of its own queue.
#[test]
fn an_item_that_holds_a_producer_is_dropped_once_while_the_consumer_goes() {
    model(PREEMPTIONS, || {
        let (producer, consumer) = Builder::new(2).bypass(0).build();
        let alive = Arc::new(());
        let held = alive.clone();
        let thread = thread::spawn(move || {
            let holder = Holder { _queue: producer.clone(), _alive: held };
            drop(producer.try_push(holder));
        });
        drop(consumer);
        thread.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

/// [last:P] with [dropped:C]: a producer that looks for late items in the consumer's place knows what
/// the consumer has done.
#[test]
fn what_the_consumer_has_dropped_is_not_dropped_again_by_a_producer() {
    /// Counts its drops, with an atomic that orders nothing in the model.
    struct Counted(&'static std::sync::atomic::AtomicUsize);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    model(PREEMPTIONS, || {
        let (producer, consumer) = Builder::new(2).bypass(0).build();
        let drops: &_ = Box::leak(Box::default());
        assert!(producer.try_push(Counted(drops)).is_ok());
        let thread = thread::spawn(move || drop(producer));
        drop(consumer);
        thread.join().unwrap();
        assert_eq!(drops.load(std::sync::atomic::Ordering::Relaxed), 1);
    });
}

/// B5: the consumer closes the bypass, and nothing gets into it afterwards.
#[test]
fn a_push_into_the_bypass_beside_close_is_popped_or_refused() {
    model(PREEMPTIONS, || {
        let (producer, mut consumer) = queue(1, 2);
        let domain = consumer.domain();
        let inside = producer.clone();
        let thread = thread::spawn(move || {
            let _guard = domain.enter();
            (1..=2).filter(|&i| inside.try_push(item(i)).is_ok()).count()
        });
        producer.close();
        let mut popped = Vec::new();
        loop {
            match consumer.try_pop() {
                Ok(item) => popped.push(number(item)),
                Err(TryPopError::Closed) => break,
                Err(TryPopError::Empty) => thread::yield_now(),
            }
        }
        let accepted = thread.join().unwrap();
        assert_eq!(popped.len(), accepted);
        assert!(popped.is_sorted());
        assert!(matches!(consumer.try_pop(), Err(TryPopError::Closed)));
    });
}

/// Late items in the bypass are dropped once, by whoever comes last.
#[test]
fn a_late_item_in_the_bypass_is_dropped_once() {
    model(2, || {
        let (producer, consumer) = Builder::new(1).bypass(1).build();
        let domain = consumer.domain();
        let alive = Arc::new(());
        let theirs = alive.clone();
        producer.try_push(alive.clone()).unwrap();
        let thread = thread::spawn(move || {
            let _guard = domain.enter();
            let weak = producer.downgrade();
            drop(producer);
            drop(weak.try_push(theirs));
        });
        drop(consumer);
        thread.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}
