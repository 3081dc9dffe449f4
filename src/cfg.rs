//! Names for conditions that are asked for in several places.

/// Where a consumer may have an event descriptor: with the feature, and where `eventfd` exists.
macro_rules! cfg_event_fd {
    ($($item:item)*) => {$(
        #[cfg(all(feature = "eventfd", target_os = "linux", not(any(bywash_loom, bywash_portable))))]
        $item
    )*};
}

/// Where it has none.
#[cfg(feature = "std")]
macro_rules! cfg_no_event_fd {
    ($($item:item)*) => {$(
        #[cfg(not(all(feature = "eventfd", target_os = "linux", not(any(bywash_loom, bywash_portable)))))]
        $item
    )*};
}
