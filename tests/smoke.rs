//! A first look at whether it works at all.

#[cfg(feature = "std")]
#[test]
fn items_come_out_in_the_order_they_went_in() {
    let (producer, mut consumer) = bywash::bounded(8);
    let feeder = std::thread::spawn(move || (0..100_000).for_each(|i| producer.push(i).unwrap()));
    assert!(consumer.iter().eq(0..100_000));
    feeder.join().unwrap();
}
