//! What must not be ignored: the compiler says so. This does not compile where it does not.
#![cfg(all(feature = "std", not(bywash_loom)))]
#![deny(unfulfilled_lint_expectations)]

use bywash::{Builder, StaticQueue, bounded};

/// Statements that the compiler must warn of, and be heard.
macro_rules! ignored {
    ($($statement:expr;)+) => {$(
        #[expect(unused_must_use)]
        {
            $statement;
        }
    )+};
}

#[test]
fn ignoring_these_is_a_mistake_that_the_compiler_sees() {
    let (producer, mut consumer) = bounded::<u8>(1);
    ignored! {
        bounded::<u8>(1);
        Builder::new(1);
        Builder::new(1).bypass(1);
        Builder::new(1).build::<u8>();
        consumer.try_iter();
        consumer.iter();
        consumer.take_lost();
        consumer.domain();
        consumer.domain().enter();
        StaticQueue::<u8, 1, 0>::new().consumer();
        producer.try_push(1);
    }
    #[cfg(all(feature = "eventfd", target_os = "linux", not(bywash_portable)))]
    ignored! {
        consumer.arm();
    }
    ignored! {
        consumer.into_iter();
    }
}
