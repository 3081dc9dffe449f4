//! All workloads, one queue at a time.
//!
//! `cargo bench` takes about a quarter of an hour, `cargo bench -- --quick` a few minutes; `cargo
//! bench -- --quick bywash` is a look at bywash alone, and `cargo bench --bench compare -- --quick`
//! one at all queues, in a minute. Names are `group/workload/params/queue`, and a part of one
//! chooses: `cargo bench -- blocking/2_to_1`. In the group `paced` the time is processor time.

mod rivals;
#[allow(dead_code, unused_imports, reason = "the comparison uses the rest")]
mod workloads;

fn main() {
    groups::all();
}

mod groups {
    use std::collections::VecDeque;
    use std::hint::black_box;
    use std::time::Duration;

    use criterion::{Bencher, Criterion, Throughput};

    use crate::workloads::{Contestant, Kind, Payload, Workload, contestants, paced};

    const OTHER_CAPACITIES: [usize; 3] = [1, 8, 65536];
    const PRODUCERS: [usize; 4] = [1, 2, 4, 16];
    /// What loggers send.
    const LOGGED: [Payload; 2] = [Payload::Record, Payload::String];

    pub(crate) fn all() {
        let mut criterion = Criterion::default()
            .sample_size(10)
            .nresamples(10_000)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_millis(700))
            .configure_from_args();
        for workload in workloads() {
            for contestant in contestants() {
                measure(&mut criterion, &workload, &contestant);
            }
        }
        batch(&mut criterion);
        build(&mut criterion);
        criterion.final_summary();
    }

    /// Around the workload that most users have, one thing changes at a time.
    fn workloads() -> Vec<Workload> {
        let mut all = around(Kind::Uncontended, 1);
        all.extend([1, 1024].map(|capacity| Workload::new(Kind::Full, 1, Payload::U64, capacity)));
        all.extend(LOGGED.map(|payload| Workload::new(Kind::Full, 1, payload, 1024)));
        for kind in [Kind::Try, Kind::Blocking] {
            all.extend(
                PRODUCERS.map(|producers| Workload::new(kind, producers, Payload::U64, 1024)),
            );
            // The one in the middle is there already.
            all.extend(around(kind, 2).into_iter().skip(1));
        }
        for kind in [Kind::RoundTripSpinning, Kind::RoundTripSleeping, Kind::WakeUp] {
            all.push(Workload::new(kind, 1, Payload::U64, 8));
            all.extend(LOGGED.map(|payload| Workload::new(kind, 1, payload, 8)));
        }
        all.extend(paced::ALL);
        all
    }

    fn around(kind: Kind, producers: usize) -> Vec<Workload> {
        let mut all: Vec<_> =
            Payload::ALL.map(|payload| Workload::new(kind, producers, payload, 1024)).into();
        all.extend(
            OTHER_CAPACITIES.map(|capacity| Workload::new(kind, producers, Payload::U64, capacity)),
        );
        all
    }

    fn measure(criterion: &mut Criterion, workload: &Workload, contestant: &Contestant) {
        if !contestant.fits(workload) {
            return;
        }
        let mut group = criterion.benchmark_group(workload.to_string());
        group.throughput(Throughput::Elements(1));
        group.bench_function(contestant.name, |bencher: &mut Bencher<'_>| {
            bencher.iter_custom(|items| {
                let sample = contestant.run(workload, items);
                Duration::from_nanos((sample.nanos_per_item * items as f64) as u64)
            });
        });
        group.finish();
    }

    /// A batch in and out on one thread, in one go or one by one.
    fn batch(criterion: &mut Criterion) {
        const BATCH: usize = 32;
        let (producer, mut consumer) = bywash::bounded(1024);
        let mut group = criterion.benchmark_group("batch/push_pop/u64,batch_32");
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function("one_by_one", |bencher| {
            bencher.iter(|| {
                (0..BATCH).for_each(|i| producer.try_push(black_box(i)).expect("there is room"));
                while let Ok(item) = consumer.try_pop() {
                    black_box(item);
                }
            });
        });
        group.bench_function("many", |bencher| {
            let (mut there, mut back) = (VecDeque::with_capacity(BATCH), Vec::with_capacity(BATCH));
            bencher.iter(|| {
                there.extend((0..BATCH).map(black_box));
                producer.try_push_many(&mut there).expect("there is room");
                consumer.try_pop_many(&mut back, BATCH).expect("something was pushed");
                back.drain(..).for_each(|item| _ = black_box(item));
            });
        });
        group.finish();
    }

    /// Building and dropping a queue, with a push, which most of its slots have nothing to do with.
    fn build(criterion: &mut Criterion) {
        fn build_and_drop<T>(
            criterion: &mut Criterion,
            params: &str,
            capacity: usize,
            item: fn() -> T,
        ) {
            let mut group = criterion.benchmark_group(format!("build/push_drop/{params}"));
            group.bench_function("bywash", |bencher| {
                bencher.iter(|| {
                    let (producer, consumer) = bywash::bounded(black_box(capacity));
                    producer.try_push(item()).unwrap_or_else(|_| unreachable!("there is room"));
                    (producer, consumer)
                });
            });
            group.finish();
        }
        build_and_drop(criterion, "u64,capacity_64", 64, || 1_u64);
        build_and_drop(criterion, "u64,capacity_1024", 1024, || 1_u64);
        build_and_drop(criterion, "4_kib,capacity_100000", 100_000, || [1_u8; 4096]);
    }
}
