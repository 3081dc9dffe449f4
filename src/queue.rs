//! What a consumer reads: a queue on the heap, or a static one.

use core::fmt;

use crate::lanes::Entry;
use crate::shared::{Places, Shared};

/// The queue that a [`Consumer`](crate::Consumer) reads: [`Heap`], or
/// [`Claimed`](crate::Claimed) from a [`StaticQueue`](crate::StaticQueue). Nothing else is one.
///
/// Its name is needed only by code that takes a consumer of either:
///
/// ```
/// use bywash::{Consumer, Queue, StaticQueue};
///
/// fn sum<Q: Queue<Item = u32>>(consumer: &mut Consumer<u32, Q>) -> u32 {
///     consumer.try_iter().sum()
/// }
///
/// static QUEUE: StaticQueue<u32, 4, 0> = StaticQueue::new();
///
/// let (producer, mut consumer) = bywash::bounded(4);
/// for i in [1, 2] {
///     producer.try_push(i).unwrap();
///     QUEUE.try_push(10 * i).unwrap();
/// }
/// assert_eq!(sum(&mut consumer), 3);
/// assert_eq!(sum(&mut QUEUE.consumer().unwrap()), 30);
/// ```
pub trait Queue: sealed::Sealed<Content = <Self as Queue>::Item> {
    /// The type of the items.
    type Item;
}

pub(crate) mod sealed {
    use crate::lanes::Entry;
    use crate::ring::Slots;
    use crate::shared::{Places, Shared};

    pub trait Sealed {
        type Content;
        type Ring: Slots<Item = Self::Content>;
        type Bypass: Slots<Item = Entry<Self::Content>>;

        fn shared(&self) -> &Shared<Places<Self::Ring, Self::Bypass>>;

        /// The queue for those who neither push nor pop.
        #[cfg(all(feature = "std", not(bywash_loom)))]
        fn handle(&self) -> crate::shared::Handle
        where
            Self: 'static,
            Self::Content: Send;
    }
}

/// A queue on the heap, which a [`Consumer`](crate::Consumer) reads. There is no need to name it.
#[cfg(feature = "alloc")]
pub struct Heap<T> {
    pub(crate) shared: crate::sync::Arc<HeapShared<T>>,
}

#[cfg(feature = "alloc")]
pub(crate) type HeapShared<T> =
    Shared<Places<crate::slots::Boxed<T>, crate::slots::BoxedExact<Entry<T>>>>;

// The ends say themselves when they may be sent and shared. Where an item may not, the compiler then
// names the end, and not all that is in it. What is in it must say the same.

// SAFETY: so are its parts, see `parts`.
#[cfg(feature = "alloc")]
unsafe impl<T: Send> Send for Heap<T> {}

#[cfg(feature = "alloc")]
#[expect(dead_code, reason = "it is compiled")]
fn parts<T: Send>(shared: crate::sync::Arc<HeapShared<T>>) -> impl Send + Sync {
    shared
}

/// A queue on the heap, of which there is none without the feature `alloc`.
#[cfg(not(feature = "alloc"))]
pub struct Heap<T> {
    shared: core::convert::Infallible,
    _items: core::marker::PhantomData<T>,
}

#[cfg(not(feature = "alloc"))]
type HeapShared<T> = Shared<Places<crate::slots::Inline<T, 1>, crate::slots::Inline<Entry<T>, 0>>>;

impl<T> Queue for Heap<T> {
    type Item = T;
}

#[cfg(feature = "alloc")]
impl<T> Drop for Heap<T> {
    /// With the consumer.
    fn drop(&mut self) {
        self.shared.remove_consumer();
    }
}

#[cfg(feature = "alloc")]
impl<T> sealed::Sealed for Heap<T> {
    type Content = T;
    type Ring = crate::slots::Boxed<T>;
    type Bypass = crate::slots::BoxedExact<Entry<T>>;

    #[inline]
    fn shared(&self) -> &HeapShared<T> {
        &self.shared
    }

    #[cfg(all(feature = "std", not(bywash_loom)))]
    fn handle(&self) -> crate::shared::Handle
    where
        Self: 'static,
        T: Send,
    {
        crate::shared::Handle::Heap(self.shared.clone())
    }
}

#[cfg(not(feature = "alloc"))]
impl<T> sealed::Sealed for Heap<T> {
    type Content = T;
    type Ring = crate::slots::Inline<T, 1>;
    type Bypass = crate::slots::Inline<Entry<T>, 0>;

    fn shared(&self) -> &HeapShared<T> {
        match self.shared {}
    }
}

impl<T> fmt::Debug for Heap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}
