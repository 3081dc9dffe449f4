//! Every error: its predicates, `into_inner`, `Debug`, `Display`, `Error`, and the conversions.
#![cfg(not(bywash_loom))]

use std::error::Error;

use bywash::{PopError, PopTimeoutError, PushError, PushTimeoutError, TryPopError, TryPushError};

/// Neither `Debug` nor `Display` nor `Clone`, nor `Send`.
#[derive(PartialEq)]
struct Opaque(*const u8);

const ITEM: Opaque = Opaque(std::ptr::null());

/// For each variant, what each predicate returns.
macro_rules! predicates {
    ($($error:expr => $($predicate:ident $answer:expr),+;)+) => {
        $($(assert_eq!($error.$predicate(), $answer, "{:?}.{}", $error, stringify!($predicate));)+)+
    };
}

#[test]
fn each_predicate_is_true_of_its_own_variant_and_of_no_other() {
    predicates! {
        TryPushError::Full(ITEM) => is_full true, is_closed false;
        TryPushError::Closed(ITEM) => is_full false, is_closed true;
        PushError::WouldDeadlock(ITEM) => is_would_deadlock true, is_closed false;
        PushError::Closed(ITEM) => is_would_deadlock false, is_closed true;
        PushTimeoutError::Timeout(ITEM) => is_timeout true, is_would_deadlock false, is_closed false;
        PushTimeoutError::WouldDeadlock(ITEM) => is_timeout false, is_would_deadlock true, is_closed false;
        PushTimeoutError::Closed(ITEM) => is_timeout false, is_would_deadlock false, is_closed true;
        TryPopError::Empty => is_empty true, is_closed false;
        TryPopError::Closed => is_empty false, is_closed true;
        PopTimeoutError::Timeout => is_timeout true, is_closed false;
        PopTimeoutError::Closed => is_timeout false, is_closed true;
    }
}

#[test]
fn into_inner_hands_the_item_back_from_every_variant() {
    assert_eq!(TryPushError::Full(Box::new(1)).into_inner(), Box::new(1));
    assert_eq!(TryPushError::Closed(Box::new(2)).into_inner(), Box::new(2));
    assert_eq!(PushError::WouldDeadlock(Box::new(3)).into_inner(), Box::new(3));
    assert_eq!(PushError::Closed(Box::new(4)).into_inner(), Box::new(4));
    assert_eq!(PushTimeoutError::Timeout(Box::new(5)).into_inner(), Box::new(5));
    assert_eq!(PushTimeoutError::WouldDeadlock(Box::new(6)).into_inner(), Box::new(6));
    assert_eq!(PushTimeoutError::Closed(Box::new(7)).into_inner(), Box::new(7));
}

/// Every variant, with the name that `Debug` must show and a word that `Display` must contain.
fn every_error() -> [(Box<dyn Error>, &'static str, &'static str); 12] {
    [
        (Box::new(TryPushError::Full(ITEM)), "Full", "full"),
        (Box::new(TryPushError::Closed(ITEM)), "Closed", "closed"),
        (Box::new(PushError::WouldDeadlock(ITEM)), "WouldDeadlock", "cannot be drained"),
        (Box::new(PushError::Closed(ITEM)), "Closed", "closed"),
        (Box::new(PushTimeoutError::Timeout(ITEM)), "Timeout", "timed out"),
        (Box::new(PushTimeoutError::WouldDeadlock(ITEM)), "WouldDeadlock", "cannot be drained"),
        (Box::new(PushTimeoutError::Closed(ITEM)), "Closed", "closed"),
        (Box::new(TryPopError::Empty), "Empty", "empty"),
        (Box::new(TryPopError::Closed), "Closed", "closed"),
        (Box::new(PopError), "PopError", "closed"),
        (Box::new(PopTimeoutError::Timeout), "Timeout", "timed out"),
        (Box::new(PopTimeoutError::Closed), "Closed", "closed"),
    ]
}

#[test]
fn display_is_lower_case_and_says_what_is_wrong() {
    for (error, _, word) in every_error() {
        let text = error.to_string();
        assert!(text.contains(word), "{text}");
        assert_eq!(text, text.to_lowercase());
        assert!(!text.ends_with('.'), "{text}");
    }
}

#[test]
fn debug_names_the_variant_whatever_the_item_is() {
    for (error, name, _) in every_error() {
        assert!(format!("{error:?}").contains(name), "{error:?} does not say {name}");
    }
}

#[test]
fn no_error_has_a_source() {
    assert!(every_error().iter().all(|(error, ..)| error.source().is_none()));
}

#[test]
fn an_error_without_a_timeout_becomes_one_with() {
    assert_eq!(
        PushTimeoutError::from(PushError::WouldDeadlock(1)),
        PushTimeoutError::WouldDeadlock(1)
    );
    assert_eq!(PushTimeoutError::from(PushError::Closed(2)), PushTimeoutError::Closed(2));
    assert_eq!(PopTimeoutError::from(PopError), PopTimeoutError::Closed);
    assert_eq!(TryPopError::from(PopError), TryPopError::Closed);
}

#[test]
fn errors_are_copied_and_compared_where_the_item_can_be() {
    let full = TryPushError::Full(1);
    let copy = full;
    assert_eq!(full, copy);
    assert_ne!(full, TryPushError::Full(2));
    assert_ne!(full, TryPushError::Closed(1));
    assert_ne!(PushError::WouldDeadlock(1), PushError::Closed(1));
    assert_ne!(PushTimeoutError::Timeout(1), PushTimeoutError::WouldDeadlock(1));
    assert_ne!(TryPopError::Empty, TryPopError::Closed);
    assert_ne!(PopTimeoutError::Timeout, PopTimeoutError::Closed);
}
