//! Interrupts every call on a queue at every machine instruction, by a push or by another thread.
//! Runs on x86-64 Linux, and is skipped elsewhere.
//!
//! The call is single-stepped. Before each instruction the process forks. The child interrupts the
//! call, finishes it, and checks whether anything was lost, doubled, hidden, out of order, or
//! refused without cause. A hang is a finding, and is reported with the instruction at which it
//! began. The storms test what happens inside system calls.

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
    steps::run();
}

#[cfg(all(feature = "std", not(bywash_loom), target_os = "linux", target_arch = "x86_64"))]
mod steps {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bywash::{Producer, TryPopError, TryPushError, bounded};

    use super::support::cases;
    use super::support::child::{Ending, fork, in_child, in_file, shared, wait, watch};
    use super::support::freeze::{at_each_step, wait_for};
    use super::support::play::{BYPASS, Nested, Outer, Play, Scene, Who};
    use super::support::sleeper::Sleeper;
    use super::support::trap::{Step, step};

    /// A debug build has ten times as many steps, and tries one in so many.
    const STRIDE: usize = if cfg!(debug_assertions) { 37 } else { 1 };
    const CAPACITIES: &[usize] = if cfg!(debug_assertions) { &[1, 2] } else { &[1, 2, 3, 4, 8] };

    pub(crate) fn run() {
        cases::run(&[
            (
                "the_fast_paths_have_one_locked_instruction_and_none",
                the_fast_paths_have_one_locked_instruction_and_none,
            ),
            ("try_push", || interrupt(&[Outer::TryPush])),
            ("try_push_many", || interrupt(&[Outer::TryPushMany])),
            ("try_push_within", || interrupt(&[Outer::TryPushWithin])),
            ("try_push_or_count", || interrupt(&[Outer::TryPushOrCount])),
            ("try_push_and_wait", || interrupt(&[Outer::TryPushAndWait])),
            ("push", || interrupt(&[Outer::Push])),
            ("try_pop", || interrupt(&[Outer::TryPop])),
            ("try_pop_many", || interrupt(&[Outer::TryPopMany])),
            ("pop", || interrupt(&[Outer::Pop])),
            ("pop_timeout", || interrupt(&[Outer::PopTimeout, Outer::PopTimeoutSoonOver])),
            ("close", || interrupt(&[Outer::Close])),
            ("drop_of_the_consumer", || interrupt(&[Outer::DropConsumer])),
            ("drop_of_a_producer", || interrupt(&[Outer::DropProducer, Outer::DropLastProducer])),
            ("a_push_that_wakes_the_consumer", a_push_that_wakes_the_consumer),
            ("to_wake_is_one_system_call", to_wake_is_one_system_call),
        ]);
    }

    /// What the processes of one case share.
    #[derive(Default)]
    struct Tally {
        steps: AtomicUsize,
        tried: AtomicUsize,
        findings: AtomicUsize,
        /// The last step that was tried, and its address.
        number: AtomicUsize,
        address: AtomicUsize,
    }

    impl Tally {
        fn reach(&self, step: &Step<'_>) {
            self.steps.fetch_add(1, Ordering::Relaxed);
            self.number.store(step.number, Ordering::Relaxed);
            self.address.store(step.address(), Ordering::Relaxed);
        }

        fn find(&self, scene: &Scene, ending: Ending) {
            self.findings.fetch_add(1, Ordering::Relaxed);
            let number = self.number.load(Ordering::Relaxed);
            let address = in_file(self.address.load(Ordering::Relaxed));
            println!(
                "FINDING: {scene:?}: {ending:?}; before instruction {number}, at {address:#x} in the file"
            );
        }
    }

    fn interrupt(outers: &[Outer]) {
        let tally = shared::<Tally>();
        let scenes: Vec<Scene> = outers.iter().flat_map(|&outer| scenes(outer)).collect();
        for scene in &scenes {
            let ending = in_child(|| {
                play(scene, tally);
                0
            });
            if ending != Ending::Exit(0) {
                tally.find(scene, ending);
            }
            assert!(tally.findings.load(Ordering::Relaxed) < 5, "enough findings");
        }
        let [steps, tried, findings] =
            [&tally.steps, &tally.tried, &tally.findings].map(|n| n.load(Ordering::Relaxed));
        println!(
            "  {} scenes, {steps} steps, {tried} interrupted, {findings} findings",
            scenes.len()
        );
        assert_eq!(findings, 0);
    }

    /// Steps through the call of a scene, and forks at each step. The children return from here,
    /// too.
    fn play(scene: &Scene, tally: &Tally) {
        let play = Play::new(*scene);
        let mut sleeps = 0;
        let mut on_step = |step: &mut Step<'_>| {
            watch();
            tally.reach(step);
            play.awake();
            if step.number % STRIDE == 0 && !step.is_in_vdso() {
                tally.tried.fetch_add(1, Ordering::Relaxed);
                match fork() {
                    0 => {
                        step.let_go();
                        return play.interrupt();
                    }
                    child => match wait(child) {
                        Ending::Exit(0) => {}
                        ending => tally.find(scene, ending),
                    },
                }
            }
            if scene.sleeps() && step.is_going_to_sleep() {
                sleeps += 1;
                // The first sleep of a push is a nap.
                if sleeps == if scene.outer == Outer::Push { 2 } else { 1 } {
                    play.rescue();
                }
            }
        };
        play.call(|call| _ = step(&mut on_step, call));
        play.check();
    }

    fn scenes(outer: Outer) -> Vec<Scene> {
        let mut scenes = Vec::new();
        for &capacity in CAPACITIES {
            let mut fills = vec![0, 1, capacity - 1, capacity];
            fills.sort();
            fills.dedup();
            for in_ring in fills {
                for in_bypass in [0, BYPASS] {
                    // Half of the scenes begin after a lap.
                    let before = if in_bypass == 0 { capacity } else { 0 };
                    for who in [Who::Consumer, Who::Domain, Who::Other] {
                        for nested in [
                            Nested::PushOne,
                            Nested::PushUntilRefused,
                            Nested::OtherPushes,
                            Nested::OtherPops,
                        ] {
                            scenes.push(Scene {
                                capacity,
                                in_ring,
                                in_bypass,
                                before,
                                who,
                                outer,
                                nested,
                            });
                        }
                    }
                }
            }
        }
        scenes.retain(is_played);
        scenes
    }

    /// Leaves out scenes that are impossible, and those that another one covers.
    fn is_played(scene: &Scene) -> bool {
        let other_pops = scene.nested == Nested::OtherPops;
        let possible = match scene.outer {
            // Otherwise no thread would make room.
            Outer::Push if scene.who == Who::Other => other_pops,
            // The consumer's end is in use.
            outer if outer.pops() != 0 => !other_pops,
            // While memory is being freed, the handler cannot allocate, so it cannot start a
            // thread.
            Outer::Close | Outer::DropConsumer | Outer::DropProducer => {
                !matches!(scene.nested, Nested::OtherPops | Nested::OtherPushes)
            }
            Outer::DropLastProducer => other_pops,
            _ => true,
        };
        possible && !is_like_another(scene) && !(cfg!(bywash_portable) && scene.sleeps())
    }

    /// Whether the call executes the same instructions as in another scene.
    fn is_like_another(scene: &Scene) -> bool {
        let full = scene.in_ring == scene.capacity;
        let small = scene.capacity <= 2;
        let outer = match scene.outer {
            Outer::Push => !small && (scene.sleeps() || !full),
            Outer::Pop => !small,
            // It has a limit of its own, and does not depend on the thread.
            Outer::TryPushWithin => !matches!(scene.capacity, 1 | 3) || scene.who == Who::Domain,
            Outer::TryPushOrCount | Outer::TryPushAndWait => !small,
            // Batches of 3.
            Outer::TryPushMany | Outer::TryPopMany => matches!(scene.capacity, 3 | 8),
            Outer::PopTimeout | Outer::PopTimeoutSoonOver => {
                scene.capacity != 2 || scene.in_ring + scene.in_bypass != 0
            }
            _ => false,
        };
        let who = match scene.who {
            Who::Consumer => false,
            Who::Domain => scene.in_ring + scene.outer.pushes() <= scene.capacity,
            Who::Other => scene.nested == Nested::OtherPushes,
        };
        outer || who
    }

    /// The push runs on another thread than the sleeping one. The nested push wakes the sleeper,
    /// however far the interrupted push is.
    fn a_push_that_wakes_the_consumer() {
        for (what, call) in
            [("try_push", Call::TryPush), ("push", Call::Push), ("drop", Call::DropProducer)]
        {
            let tally = at_each_step(what, |stop| {
                let (producer, mut consumer) = bounded(4);
                let producer = Arc::new(producer);
                let popped = Arc::new(AtomicUsize::new(0));
                let sleeper = Sleeper::spawn({
                    let popped = popped.clone();
                    move || {
                        consumer
                            .iter()
                            .for_each(|item: usize| _ = popped.fetch_or(item, Ordering::SeqCst))
                    }
                });
                sleeper.wait_until_asleep();
                let nested = || {
                    producer.try_push(2).unwrap();
                    wait_for(|| popped.load(Ordering::SeqCst) & 2 != 0);
                };
                let mut clone = Some(Producer::clone(&producer));
                let call = || match call {
                    Call::TryPush => producer.try_push(1).unwrap(),
                    Call::Push => producer.push(1).unwrap(),
                    Call::DropProducer => clone = None,
                };
                stop.call_interrupted(call, nested);
                let all = if matches!(what, "drop") { 2 } else { 3 };
                wait_for(|| popped.load(Ordering::SeqCst) & all == all || !stop.was_reached());
            });
            println!("  {what}: interrupted at {} steps, {} findings", tally.steps, tally.findings);
            assert_eq!(tally.findings, 0);
        }
    }

    /// This holds however the consumer waits. The second of two pushes has nobody to wake.
    fn to_wake_is_one_system_call() {
        let system_calls = |producer: &Producer<u8>| {
            let mut calls = 0;
            step(&mut |step| calls += usize::from(step.is_system_call()), || {
                producer.try_push(1).unwrap()
            });
            calls
        };
        let (producer, mut consumer) = bounded(4);
        let sleeper = Sleeper::spawn(move || assert_eq!(consumer.pop(), Ok(1)));
        sleeper.wait_until_asleep();
        // On other systems it naps.
        assert_eq!(system_calls(&producer), usize::from(!cfg!(bywash_portable)));
        sleeper.join();
        #[cfg(all(feature = "eventfd", not(bywash_portable)))]
        {
            let (producer, mut consumer) = bounded(4);
            let _descriptor = consumer.event_fd().unwrap();
            assert_eq!(system_calls(&producer), 0);
            assert_eq!(consumer.try_pop(), Ok(1));
            assert!(consumer.arm());
            assert_eq!([system_calls(&producer), system_calls(&producer)], [1, 0]);
        }
    }

    #[derive(Clone, Copy)]
    enum Call {
        TryPush,
        Push,
        DropProducer,
    }

    /// Counts from call to return, for calls that neither wait nor wake: a push has one locked
    /// instruction, a pop none.
    fn the_fast_paths_have_one_locked_instruction_and_none() {
        let (producer, mut consumer) = bounded(64);
        // The first calls find the limit, and bind.
        for item in 0..8_u64 {
            producer.push(item).unwrap();
            consumer.try_pop().unwrap();
        }
        let (mut pushed, mut popped) = (Err(TryPushError::Full(0)), Err(TryPopError::Empty));
        let (push, locked_in_push) = count(|| pushed = producer.try_push(8));
        let (pop, locked_in_pop) = count(|| popped = consumer.try_pop());
        assert_eq!((pushed, popped), (Ok(()), Ok(8)));
        println!(
            "  try_push: {push} instructions, {locked_in_push} locked; try_pop: {pop}, {locked_in_pop} locked"
        );
        assert_eq!((locked_in_push, locked_in_pop), (1, 0));
    }

    /// Counts the instructions of a call, and how many of them are locked.
    fn count(call: impl FnOnce()) -> (usize, usize) {
        let mut locked = 0;
        (step(&mut |step| locked += usize::from(step.is_locked()), call), locked)
    }
}
