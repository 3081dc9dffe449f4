//! Stops producers inside a push, at every machine instruction of it: forever, or until others have
//! pushed and popped. Runs on x86-64 Linux, and is skipped elsewhere.
//!
//! Each stop happens in a process of its own, so that a hang is a finding and does not hang the
//! test.

#[cfg(all(feature = "std", not(bywash_loom), target_os = "linux", target_arch = "x86_64"))]
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/stepping/mod.rs"]
mod support;

#[cfg(not(all(feature = "std", not(bywash_loom), target_os = "linux", target_arch = "x86_64")))]
fn main() {
    println!("skipped: it takes x86-64 Linux, and blocking");
}

#[cfg(all(feature = "std", not(bywash_loom), target_os = "linux", target_arch = "x86_64"))]
fn main() {
    stopped::run();
}

#[cfg(all(feature = "std", not(bywash_loom), target_os = "linux", target_arch = "x86_64"))]
mod stopped {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use bywash::{Builder, Consumer, Domain, Producer, bounded};

    use super::support::cases;
    use super::support::freeze::{Frozen, Stop, Tally, at_each_step, wait_for};
    use super::support::sleeper::Sleeper;

    const CAPACITIES: [usize; 5] = [1, 2, 3, 4, 8];
    const BYPASS: usize = 3;

    /// The item of the stopped producer, or the first of its batch. All others count from 0.
    const ITS: u32 = 1000;
    const BATCH: usize = 3;

    /// A push of `ITS` that never waits for room.
    type Push = fn(&Producer<u32>);
    const TRY_PUSH: Push = |producer| _ = producer.try_push(ITS);
    const TRY_PUSH_OR_COUNT: Push = |producer| _ = producer.try_push_or_count(ITS);
    const OTHERS: [Push; 3] = [
        TRY_PUSH_OR_COUNT,
        |producer| _ = producer.try_push_within(ITS, usize::MAX),
        |producer| _ = producer.try_push_and_wait(ITS, Duration::ZERO),
    ];

    pub(crate) fn run() {
        cases::run(&[
            ("a_stopped_producer_hides_its_own_item_only", || {
                settle(with_each_push(a_stopped_producer_hides_its_own_item_only))
            }),
            ("a_stopped_bypass_push_hides_its_own_item_only", || {
                settle(a_stopped_bypass_push_hides_its_own_item_only())
            }),
            ("a_stopped_batch_hides_its_own_items_only", || {
                settle(a_stopped_batch_hides_its_own_items_only())
            }),
            ("a_stopped_batch_in_the_bypass_hides_its_own_items_only", || {
                settle(a_stopped_batch_in_the_bypass_hides_its_own_items_only())
            }),
            ("a_resumed_batch_disturbs_nothing", || settle(a_resumed_batch_disturbs_nothing())),
            ("a_resumed_push_disturbs_nothing", || {
                settle(with_each_push(a_resumed_push_disturbs_nothing))
            }),
            ("a_resumed_bypass_push_disturbs_nothing", || {
                settle(a_resumed_bypass_push_disturbs_nothing())
            }),
            ("a_stopped_count_is_short_of_its_own_item_only", || {
                settle(a_stopped_count_is_short_of_its_own_item_only())
            }),
            ("the_sleeping_consumer_is_woken_past_a_stopped_waker", || {
                settle(the_sleeping_consumer_is_woken_past_a_stopped_waker())
            }),
            ("a_consumer_that_lingers_is_woken_past_a_stopped_waker", || {
                settle(a_consumer_that_lingers_is_woken_past_a_stopped_waker())
            }),
            ("a_blocked_push_goes_on_while_another_is_stopped", || {
                settle(a_blocked_push_goes_on_while_another_is_stopped())
            }),
            ("a_woken_and_stopped_push_does_not_hold_up_the_next_for_long", || {
                settle(a_woken_and_stopped_push_does_not_hold_up_the_next_for_long())
            }),
            ("close_works_while_a_producer_is_stopped", || {
                settle(close_works_while_a_producer_is_stopped())
            }),
        ]);
    }

    fn settle(tally: Tally) {
        println!("  stopped at {} steps, {} findings", tally.steps, tally.findings);
        assert_eq!(tally.findings, 0);
    }

    /// Runs `test` with each kind of push, and the capacities of the ring. For most kinds small
    /// ones suffice.
    fn with_each_push(test: fn(Push, &[usize]) -> Tally) -> Tally {
        let mut tally = test(TRY_PUSH, &CAPACITIES);
        OTHERS.into_iter().for_each(|push| tally += test(push, &CAPACITIES[..2]));
        tally
    }

    /// Pushes until refused, with numbers from `next` on. Returns how many items were accepted.
    fn fill(producer: &Producer<u32>, next: &mut u32) -> usize {
        let before = *next;
        while producer.try_push(*next).is_ok() {
            *next += 1;
        }
        (*next - before) as usize
    }

    /// Pops everything, and checks that it is what was pushed: the numbers from `first` to `last`,
    /// and perhaps the item of the stopped producer, at any place. Returns whether that item was
    /// there.
    fn drain(consumer: &mut Consumer<u32>, first: u32, last: u32) -> bool {
        let popped: Vec<u32> = consumer.try_iter().collect();
        let its = check_batch(popped, first, last);
        assert!(its <= 1);
        its == 1
    }

    /// As `drain`, for a stopped producer with a batch. Returns how many items of the batch were
    /// there, counted from its first.
    fn drain_batch(consumer: &mut Consumer<u32>, first: u32, last: u32) -> usize {
        let mut popped = Vec::new();
        while consumer.try_pop_many(&mut popped, 2).is_ok() {}
        check_batch(popped, first, last)
    }

    fn check_batch(popped: Vec<u32>, first: u32, last: u32) -> usize {
        let (its, others): (Vec<u32>, Vec<u32>) = popped.into_iter().partition(|&item| item >= ITS);
        assert_eq!(others, (first..last).collect::<Vec<_>>());
        assert_eq!(its, (ITS..).take(its.len()).collect::<Vec<_>>());
        its.len()
    }

    /// A thread that is stopped in a push.
    fn pushes(push: Push, producer: &Arc<Producer<u32>>, stop: Stop) -> Frozen {
        let producer = producer.clone();
        Frozen::spawn(move || stop.call(|| push(&producer)))
    }

    fn a_stopped_producer_hides_its_own_item_only(push: Push, capacities: &[usize]) -> Tally {
        let mut tally = Tally::default();
        for &capacity in capacities {
            for filled in [0, 1, capacity - 1].into_iter().take_while(|&filled| filled < capacity) {
                tally += at_each_step(&format!("capacity {capacity}, filled {filled}"), |stop| {
                    let (producer, mut consumer) = Builder::new(capacity).bypass(BYPASS).build();
                    let producer = Arc::new(producer);
                    let mut next = 0;
                    (0..filled).for_each(|_| push_next(&producer, &mut next));
                    pushes(push, &producer, stop).wait();
                    let claimed = producer.len() - filled;
                    // No thread is the consumer's yet.
                    assert_eq!(fill(&producer, &mut next), capacity - filled - claimed);
                    let was_there = drain(&mut consumer, 0, next);
                    // Now this thread is the consumer's, so the bypass takes what the ring does
                    // not.
                    let first = next;
                    let hidden = claimed == 1 && !was_there;
                    let room = if hidden { filled } else { capacity } + BYPASS;
                    assert_eq!(fill(&producer, &mut next), room);
                    assert!(!(drain(&mut consumer, first, next) && was_there));
                });
            }
        }
        tally
    }

    fn push_next(producer: &Producer<u32>, next: &mut u32) {
        producer.try_push(*next).unwrap();
        *next += 1;
    }

    /// A full queue, with a push into the bypass stopped on another thread that may use it.
    fn stopped_in_the_bypass(
        capacity: usize,
        stop: Stop,
        next: &mut u32,
    ) -> (Arc<Producer<u32>>, Consumer<u32>, Frozen) {
        let (producer, mut consumer) = Builder::new(capacity).bypass(BYPASS).build();
        consumer.bind();
        (0..capacity).for_each(|_| push_next(&producer, next));
        let (producer, domain) = (Arc::new(producer), consumer.domain());
        let its = producer.clone();
        let frozen = Frozen::spawn(move || {
            let _inside = domain.enter();
            stop.call(|| _ = its.try_push(ITS));
        });
        frozen.wait();
        (producer, consumer, frozen)
    }

    fn a_stopped_bypass_push_hides_its_own_item_only() -> Tally {
        let mut tally = Tally::default();
        for capacity in CAPACITIES {
            tally += at_each_step(&format!("capacity {capacity}"), |stop| {
                let mut next = 0;
                let (producer, mut consumer, _frozen) =
                    stopped_in_the_bypass(capacity, stop, &mut next);
                let claimed = producer.bypass_len();
                assert_eq!(fill(&producer, &mut next), BYPASS - claimed);
                let was_there = drain(&mut consumer, 0, next);
                let first = next;
                let hidden = claimed == 1 && !was_there;
                assert_eq!(fill(&producer, &mut next), capacity + if hidden { 0 } else { BYPASS });
                assert!(!(drain(&mut consumer, first, next) && was_there));
            });
        }
        tally
    }

    /// A thread that is stopped in a push of `BATCH` items.
    fn pushes_batch(producer: &Arc<Producer<u32>>, stop: Stop, domain: Option<Domain>) -> Frozen {
        let producer = producer.clone();
        Frozen::spawn(move || {
            let _inside = domain.map(|domain| domain.enter());
            let mut items: VecDeque<_> = (ITS..).take(BATCH).collect();
            stop.call(|| _ = producer.try_push_many(&mut items));
        })
    }

    fn a_stopped_batch_hides_its_own_items_only() -> Tally {
        let mut tally = Tally::default();
        for capacity in CAPACITIES {
            for filled in [0, 1, capacity - 1].into_iter().take_while(|&filled| filled < capacity) {
                tally += at_each_step(&format!("capacity {capacity}, filled {filled}"), |stop| {
                    let (producer, mut consumer) = Builder::new(capacity).bypass(BYPASS).build();
                    let producer = Arc::new(producer);
                    let mut next = 0;
                    (0..filled).for_each(|_| push_next(&producer, &mut next));
                    pushes_batch(&producer, stop, None).wait();
                    let claimed = producer.len() - filled;
                    assert!(
                        claimed == 0 || claimed == (capacity - filled).min(BATCH),
                        "not claimed at once"
                    );
                    // No thread is the consumer's yet.
                    assert_eq!(fill(&producer, &mut next), capacity - filled - claimed);
                    let its = drain_batch(&mut consumer, 0, next);
                    // The slots from its first hidden item on are in use.
                    let first = next;
                    let room = if its < claimed { filled + its } else { capacity };
                    assert_eq!(fill(&producer, &mut next), room + BYPASS);
                    assert_eq!(drain_batch(&mut consumer, first, next), 0);
                });
            }
        }
        tally
    }

    /// A batch that goes into the ring, and into the bypass what does not fit.
    fn a_stopped_batch_in_the_bypass_hides_its_own_items_only() -> Tally {
        let mut tally = Tally::default();
        for capacity in CAPACITIES {
            for room in 0..capacity.min(BATCH) {
                tally += at_each_step(
                    &format!("capacity {capacity}, room for {room} in the ring"),
                    |stop| {
                        let (producer, mut consumer) =
                            Builder::new(capacity).bypass(BYPASS).build();
                        consumer.bind();
                        let producer = Arc::new(producer);
                        let mut next = 0;
                        (room..capacity).for_each(|_| push_next(&producer, &mut next));
                        pushes_batch(&producer, stop, Some(consumer.domain())).wait();
                        let claimed = producer.len() + producer.bypass_len() - (capacity - room);
                        assert!([0, room, BATCH].contains(&claimed), "not claimed at once");
                        assert_eq!(fill(&producer, &mut next), room + BYPASS - claimed);
                        let its = drain_batch(&mut consumer, 0, next);
                        let first = next;
                        let room = match its {
                            _ if its == claimed => capacity + BYPASS,
                            _ if its < room => capacity - room + its + BYPASS,
                            _ => capacity + its - room,
                        };
                        assert_eq!(fill(&producer, &mut next), room);
                        assert_eq!(drain_batch(&mut consumer, first, next), 0);
                    },
                );
            }
        }
        tally
    }

    fn a_resumed_batch_disturbs_nothing() -> Tally {
        let mut tally = Tally::default();
        for capacity in CAPACITIES {
            for meanwhile in [0, 1, capacity, 2 * capacity] {
                tally += at_each_step(
                    &format!("capacity {capacity}, {meanwhile} pushed meanwhile"),
                    |stop| {
                        let (producer, mut consumer) =
                            Builder::new(capacity).bypass(BYPASS).build();
                        let producer = Arc::new(producer);
                        let frozen = pushes_batch(&producer, stop, None);
                        frozen.wait();
                        let (mut pushed, mut popped) = (0, Vec::new());
                        for _ in 0..meanwhile {
                            pushed += u32::from(producer.try_push(pushed).is_ok());
                            let _ = consumer.try_pop_many(&mut popped, 2);
                        }
                        frozen.resume();
                        while consumer.try_pop_many(&mut popped, 2).is_ok() {}
                        let its = check_batch(popped, 0, pushed);
                        assert!((capacity.min(BATCH)..=BATCH).contains(&its), "{its} of the batch");
                        let first = pushed;
                        assert_eq!(fill(&producer, &mut pushed), capacity + BYPASS);
                        assert_eq!(drain_batch(&mut consumer, first, pushed), 0);
                    },
                );
            }
        }
        tally
    }

    fn a_resumed_push_disturbs_nothing(push: Push, capacities: &[usize]) -> Tally {
        let mut tally = Tally::default();
        for &capacity in capacities {
            for meanwhile in 0..=2 * capacity {
                tally += at_each_step(
                    &format!("capacity {capacity}, {meanwhile} pushed meanwhile"),
                    |stop| {
                        let (producer, consumer) = Builder::new(capacity).bypass(BYPASS).build();
                        let producer = Arc::new(producer);
                        let frozen = pushes(push, &producer, stop);
                        frozen.wait();
                        resume_after(meanwhile, &producer, consumer, 0, frozen);
                    },
                );
            }
        }
        tally
    }

    fn a_resumed_bypass_push_disturbs_nothing() -> Tally {
        let mut tally = Tally::default();
        for capacity in CAPACITIES {
            for meanwhile in 0..=2 * BYPASS {
                tally += at_each_step(
                    &format!("capacity {capacity}, {meanwhile} pushed meanwhile"),
                    |stop| {
                        let mut next = 0;
                        let (producer, consumer, frozen) =
                            stopped_in_the_bypass(capacity, stop, &mut next);
                        resume_after(meanwhile, &producer, consumer, next, frozen);
                    },
                );
            }
        }
        tally
    }

    /// Pushes and pops `meanwhile` items, as far as there is room, and resumes the stopped push.
    /// Then checks that all items are there, and that all slots can be used again.
    fn resume_after(
        meanwhile: usize,
        producer: &Producer<u32>,
        mut consumer: Consumer<u32>,
        next: u32,
        stopped: Frozen,
    ) {
        let mut pushed = next;
        let mut popped = Vec::new();
        for _ in 0..meanwhile {
            pushed += u32::from(producer.try_push(pushed).is_ok());
            popped.extend(consumer.try_pop());
        }
        stopped.resume();
        popped.extend(consumer.try_iter());
        let its = popped
            .iter()
            .position(|&item| item == ITS)
            .expect("the stopped producer's item is lost");
        assert!(its >= next as usize, "it overtook what had been pushed before it");
        popped.remove(its);
        assert_eq!(popped, (0..pushed).collect::<Vec<_>>());

        let first = pushed;
        assert_eq!(fill(producer, &mut pushed), producer.capacity() + BYPASS);
        assert!(!drain(&mut consumer, first, pushed));
    }

    /// After the producer is resumed, its item is either pushed or counted.
    fn a_stopped_count_is_short_of_its_own_item_only() -> Tally {
        at_each_step("try_push_or_count", |stop| {
            let (producer, mut consumer) = Builder::new(2).bypass(0).build();
            let producer = Arc::new(producer);
            let (mut next, mut reported) = (0, 0);
            fill(&producer, &mut next);
            let stopped = pushes(TRY_PUSH_OR_COUNT, &producer, stop);
            stopped.wait();
            for lap in 1..=2 {
                let first = next - 2;
                (0..3).for_each(|_| assert!(producer.try_push_or_count(next).is_err()));
                assert!(!drain(&mut consumer, first, next));
                reported += consumer.take_lost();
                assert!((3 * lap..=3 * lap + 1).contains(&reported), "{reported}");
                fill(&producer, &mut next);
            }
            drain(&mut consumer, next - 2, next);
            stopped.resume();
            let pushed = drain(&mut consumer, next, next);
            assert_eq!(reported + consumer.take_lost() + u64::from(pushed), 7);
        })
    }

    fn the_sleeping_consumer_is_woken_past_a_stopped_waker() -> Tally {
        at_each_step("a waker", |stop| {
            let (producer, mut consumer) = bounded(4);
            let producer = Arc::new(producer);
            let popped = Arc::new(AtomicUsize::new(0));
            let sleeper = Sleeper::spawn({
                let popped = popped.clone();
                move || {
                    let others = consumer.iter().filter(|&item| item != ITS);
                    others.take(3).enumerate().for_each(|(expected, item)| {
                        assert_eq!(item as usize, expected);
                        popped.fetch_add(1, Ordering::SeqCst);
                    });
                }
            });
            sleeper.wait_until_asleep();
            pushes(TRY_PUSH, &producer, stop).wait();
            for next in 0..3 {
                producer.try_push(next).unwrap();
                wait_for(|| popped.load(Ordering::SeqCst) as u32 > next);
                // So that the last push finds the consumer asleep again.
                if next == 1 {
                    sleeper.wait_until_asleep();
                }
            }
        })
    }

    /// The stopped push is the one that would end the linger. The next one does, also where there is
    /// no room for it, and so does `wake_consumer`.
    fn a_consumer_that_lingers_is_woken_past_a_stopped_waker() -> Tally {
        const OTHERS: [(usize, Push); 4] = [
            (4, |producer| producer.try_push(1).unwrap()),
            (2, |producer| producer.push(1).unwrap()),
            (4, |producer| producer.wake_consumer()),
            (4, |producer| producer.close()),
        ];
        let mut tally = Tally::default();
        for (index, (capacity, other)) in OTHERS.into_iter().enumerate() {
            tally += at_each_step(&format!("another, {index}"), |stop| {
                let (producer, mut consumer) = bounded(capacity);
                consumer.linger(Duration::from_secs(3600), 2);
                let producer = Arc::new(producer);
                producer.try_push(0).unwrap();
                let sleeper = Sleeper::spawn(move || {
                    (0..2).for_each(|_| assert_eq!(consumer.pop(), Ok(0)));
                    // Its drop would close the queue.
                    std::mem::forget(consumer);
                });
                sleeper.wait_until_asleep();
                producer.try_push(0).unwrap();
                pushes(TRY_PUSH, &producer, stop).wait();
                other(&producer);
                sleeper.join();
            });
        }
        tally
    }

    fn a_blocked_push_goes_on_while_another_is_stopped() -> Tally {
        let mut tally = Tally::default();
        for capacity in CAPACITIES {
            tally += at_each_step(&format!("capacity {capacity}"), |stop| {
                let (producer, mut consumer) = bounded(capacity);
                let producer = Arc::new(producer);
                // The stopped push has the last slot. With capacity 1 the blocked push would wait
                // for the stopped one, so it is left out.
                (0..capacity as u32 - 1).for_each(|item| producer.try_push(item).unwrap());
                let stopped = pushes(TRY_PUSH, &producer, stop);
                stopped.wait();
                let _ = producer.try_push(ITS + 1);
                let blocked = Sleeper::spawn({
                    let producer = producer.clone();
                    move || producer.push(ITS + 2).unwrap()
                });
                blocked.wait_until_asleep();
                if capacity == 1 {
                    stopped.resume();
                }
                wait_for(|| consumer.try_iter().any(|item| item == ITS + 2));
                blocked.join();
            });
        }
        tally
    }

    /// The first of two blocked pushes is woken, and stopped. The consumer wakes the other one
    /// before it sleeps.
    fn a_woken_and_stopped_push_does_not_hold_up_the_next_for_long() -> Tally {
        if cfg!(bywash_portable) {
            // Here threads nap instead of being woken, and naps are over before a stepped thread
            // comes to them.
            return Tally::default();
        }
        at_each_step("two blocked", |stop| {
            let (producer, mut consumer) = bounded(2);
            let producer = Arc::new(producer);
            (0..2).for_each(|item| producer.try_push(item).unwrap());
            let first = {
                let producer = producer.clone();
                Frozen::spawn(move || stop.call_that_sleeps(|| assert!(producer.push(ITS).is_ok())))
            };
            first.wait_until_asleep();
            let second = Sleeper::spawn({
                let producer = producer.clone();
                move || producer.push(ITS + 1).unwrap()
            });
            second.wait_until_asleep();
            assert_eq!(consumer.pop(), Ok(0));
            first.wait();
            assert_eq!(consumer.pop(), Ok(1));
            assert!(consumer.iter().take(2).any(|item| item == ITS + 1));
            second.join();
        })
    }

    fn close_works_while_a_producer_is_stopped() -> Tally {
        let mut tally = Tally::default();
        for capacity in CAPACITIES {
            tally += at_each_step(&format!("capacity {capacity}"), |stop| {
                let (producer, consumer) = bounded(capacity);
                let producer = Arc::new(producer);
                (0..capacity as u32 - 1).for_each(|item| producer.try_push(item).unwrap());
                pushes(TRY_PUSH, &producer, stop).wait();
                let _ = producer.try_push(ITS + 1);
                let blocked = Sleeper::spawn({
                    let producer = producer.clone();
                    move || assert!(producer.push(ITS + 2).unwrap_err().is_closed())
                });
                blocked.wait_until_asleep();
                drop(consumer);
                blocked.join();
                assert!(producer.try_push(0).unwrap_err().is_closed());
            });
        }
        tally
    }
}
