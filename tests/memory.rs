//! Slots that are never used take no memory: what building, using and dropping a large queue does
//! to the resident memory of this process. A program of its own, as others would disturb it. For
//! Linux.

#[cfg(all(feature = "std", target_os = "linux", not(bywash_loom)))]
#[path = "support/resident.rs"]
mod resident;
#[cfg(all(feature = "std", target_os = "linux", not(bywash_loom)))]
mod support;

#[cfg(not(all(feature = "std", target_os = "linux", not(bywash_loom))))]
fn main() {
    println!("skipped: it takes Linux");
}

#[cfg(all(feature = "std", target_os = "linux", not(bywash_loom)))]
fn main() {
    support::watch();
    memory::slots_that_are_never_used_take_no_memory();
    println!("slots that are never used take no memory ... ok");
}

#[cfg(all(feature = "std", target_os = "linux", not(bywash_loom)))]
mod memory {
    use bywash::{Builder, Consumer, Producer, bounded};

    use super::resident::resident;

    /// How many pages this process has touched for the first time.
    fn faults() -> libc::c_long {
        // SAFETY: all zeros are a valid one.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the address is valid.
        assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) }, 0);
        usage.ru_minflt
    }

    /// With 32 bits there is not more room.
    const CAPACITY: usize = if usize::BITS == 64 { 100_000 } else { 25_000 };
    /// A few MiB: the system may hand out 2 MiB at a time.
    const FEW: usize = 8 << 20;
    /// All slots together are a hundred thousand pages, or 25,000.
    const FEW_FAULTS: libc::c_long = 1000;

    fn assert_takes_memory_where_items_are<T>(
        build: impl FnOnce() -> (Producer<T>, Consumer<T>),
        item: impl Fn() -> T,
    ) {
        let (memory_before, faults_before) = (resident(), faults());
        let taken = || resident().saturating_sub(memory_before);
        let (producer, mut consumer) = build();
        assert!(taken() < FEW, "building took {} bytes", taken());
        consumer.bind();
        for _ in 0..10 {
            producer.push(item()).unwrap();
            producer.push(item()).unwrap();
            drop(consumer.pop().unwrap());
            drop(consumer.pop().unwrap());
        }
        producer.push(item()).unwrap();
        assert!(taken() < FEW, "twenty items took {} bytes", taken());
        drop(consumer);
        drop(producer);
        let faults = faults() - faults_before;
        assert!(faults < FEW_FAULTS, "{faults} pages were touched, dropping included");
    }

    #[repr(align(64))]
    struct Line(#[allow(dead_code, reason = "it is there for its size")] [u8; 4096]);

    #[repr(align(8192))]
    struct Pages(#[allow(dead_code, reason = "it is there for its size")] [u8; 4096]);

    pub(crate) fn slots_that_are_never_used_take_no_memory() {
        let _ = (resident(), faults()); // The first time touches pages itself.
        assert_takes_memory_where_items_are(|| bounded(CAPACITY), || [1_u8; 4096]);
        assert_takes_memory_where_items_are(|| bounded(CAPACITY), || Line([1; 4096]));
        assert_takes_memory_where_items_are(|| bounded(CAPACITY), || Pages([1; 4096]));
        let bypass = || Builder::new(1).bypass(CAPACITY).build();
        assert_takes_memory_where_items_are(bypass, || [1_u8; 4096]);
    }
}
