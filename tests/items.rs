//! Items of every size and alignment, in ring and bypass, in queues on the heap and in place.
#![cfg(not(bywash_loom))]

use bywash::{StaticQueue, TryPopError};

/// Checks that the item for `number` comes out as it went in, and that it is aligned as its type
/// demands.
fn assert_comes_through<T, const N: usize, const BYPASS: usize>(
    make: impl Fn(u8) -> T,
    number: impl Fn(&T) -> u8,
) {
    let check = |item: &T, i| {
        assert_eq!(number(item), i);
        assert_eq!(std::ptr::from_ref(item).addr() % align_of::<T>(), 0);
    };
    let queue = Box::new(StaticQueue::<T, N, BYPASS>::new());
    let mut consumer = queue.consumer().unwrap();
    assert!(matches!(consumer.try_pop(), Err(TryPopError::Empty)));
    for _ in 0..3 {
        let pushed = (0..20).take_while(|&i| queue.try_push(make(i)).is_ok()).count();
        assert_eq!(pushed, if cfg!(feature = "std") { N + BYPASS } else { N });
        assert!((0..).zip(consumer.try_iter()).map(|(i, item)| check(&item, i)).count() == pushed);
    }
    #[cfg(feature = "alloc")]
    {
        let (producer, mut consumer) = bywash::Builder::new(N).bypass(BYPASS).build();
        assert!(matches!(consumer.try_pop(), Err(TryPopError::Empty)));
        for _ in 0..3 {
            let pushed = (0..20).take_while(|&i| producer.try_push(make(i)).is_ok()).count();
            assert!(
                (0..).zip(consumer.try_iter()).map(|(i, item)| check(&item, i)).count() == pushed
            );
        }
        producer.try_push(make(0)).ok().unwrap();
    }
}

/// An item of `SIZE` bytes, all of them the same.
struct Bytes<const SIZE: usize>([u8; SIZE]);

fn assert_bytes_come_through<const SIZE: usize>() {
    assert_comes_through::<_, 3, 2>(
        |i| Bytes([i; SIZE]),
        |Bytes(bytes)| {
            assert!(bytes.iter().all(|byte| byte == &bytes[0]));
            bytes[0]
        },
    );
}

#[test]
fn a_byte_and_odd_sizes() {
    assert_bytes_come_through::<1>();
    assert_bytes_come_through::<3>();
    assert_bytes_come_through::<7>();
    assert_bytes_come_through::<65>();
}

/// Runs `f` on a thread whose stack has room for all the copies of a queue that a debug build
/// makes.
fn with_room(f: fn()) {
    std::thread::Builder::new().stack_size(128 << 20).spawn(f).unwrap().join().unwrap();
}

#[test]
fn sixty_four_kibibytes() {
    with_room(assert_bytes_come_through::<{ 64 << 10 }>);
}

#[test]
fn a_mebibyte() {
    with_room(assert_bytes_come_through::<{ 1 << 20 }>);
}

#[test]
fn numbers_and_tuples() {
    assert_comes_through::<_, 1, 1>(|i| i, |&i| i);
    assert_comes_through::<_, 3, 2>(u128::from, |&i| i as u8);
    assert_comes_through::<_, 4, 3>(|i| (i, u64::from(i), ()), |item| item.0);
    assert_comes_through::<_, 5, 1>(Some, |item| item.unwrap());
}

#[test]
fn over_aligned_items() {
    #[repr(align(128))]
    struct Wide(u8);
    assert_comes_through::<_, 3, 2>(Wide, |item| item.0);
    #[repr(align(4096))]
    struct Page(u8);
    assert_comes_through::<_, 2, 1>(Page, |item| item.0);
}

#[test]
fn items_without_a_size_are_counted_all_the_same() {
    #[repr(align(128))]
    struct Nothing;
    let queue = StaticQueue::<_, 2, 0>::new();
    let mut consumer = queue.consumer().unwrap();
    for _ in 0..5 {
        queue.try_push(Nothing).ok().unwrap();
        queue.try_push(Nothing).ok().unwrap();
        assert!(queue.try_push(Nothing).unwrap_err().is_full());
        assert!(consumer.try_iter().all(|item| std::ptr::from_ref(&item).addr() % 128 == 0));
    }
}

#[test]
fn trait_objects_and_closures() {
    assert_comes_through::<Box<dyn Fn() -> u8 + Send>, 2, 1>(
        |i| Box::new(move || i),
        |item| item(),
    );
    assert_comes_through::<Box<dyn std::any::Any + Send>, 2, 1>(
        |i| Box::new(i),
        |item| *item.downcast_ref().unwrap(),
    );
}

#[test]
fn items_that_are_full_of_pointers() {
    assert_comes_through::<_, 3, 2>(|i| vec![i.to_string(); 3], |item| item[2].parse().unwrap());
}

#[test]
fn items_that_can_be_neither_shared_nor_copied() {
    assert_comes_through::<_, 2, 2>(std::cell::Cell::new, std::cell::Cell::get);
}

#[cfg(feature = "alloc")]
#[test]
fn borrowed_items_in_scoped_threads() {
    let text = String::from("one two three four five");
    let mut counts = [0; 2];
    let (producer, mut consumer) = bywash::bounded(8);
    std::thread::scope(|scope| {
        scope.spawn(|| text.split(' ').for_each(|word| producer.try_push(word).unwrap()));
    });
    assert!(consumer.try_iter().eq(text.split(' ')));
    let (producer, mut consumer) = bywash::bounded(2);
    counts.iter_mut().for_each(|count| producer.try_push(count).ok().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || consumer.try_iter().for_each(|count: &mut i32| *count += 1));
    });
    drop(producer);
    assert_eq!(counts, [1, 1]);
}
