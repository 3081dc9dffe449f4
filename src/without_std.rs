//! Without `std` nothing sleeps, and threads cannot be told apart: the same names, doing nothing.

pub(crate) mod sleep {
    #[derive(Debug)]
    pub(crate) struct Parker;

    impl Parker {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) fn notify(&self, _ends_linger: impl Fn() -> bool) {}

        pub(crate) fn reset(&self) {}
    }

    #[derive(Debug)]
    pub(crate) struct Linger;

    impl Linger {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) fn has_ended(&self, _tail_word: u64) -> bool {
            false
        }
    }

    #[derive(Debug)]
    pub(crate) struct Waiters;

    impl Waiters {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) fn are_registered(&self) -> bool {
            false
        }

        pub(crate) fn notify(&self) {}

        pub(crate) fn notify_many(&self, _count: i32) {}

        pub(crate) fn notify_all(&self) {}

        pub(crate) fn reset(&self) {}
    }
}

pub(crate) mod threads {
    pub(crate) mod members {
        #[derive(Debug)]
        pub(crate) struct Members;

        impl Members {
            pub(crate) const fn new() -> Self {
                Self
            }

            pub(crate) fn may_be_member(&self) -> bool {
                false
            }

            pub(crate) fn is_member(&self) -> bool {
                false
            }

            pub(crate) fn unbind(&self) {}

            pub(crate) fn closing(&self, close: impl FnOnce()) {
                close();
            }

            pub(crate) fn announce(&self, _head: u64) {}

            pub(crate) fn renew(&self) {}
        }
    }
}
