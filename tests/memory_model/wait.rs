//! Sleeping and waking, of `src/sleep/mod.rs` and the calls that wait of `src/shared.rs`.
//!
//! Time is not modelled: there is no spinning, a deadline is never over, and a nap ends whenever.
//! A loop that goes on until it succeeds gives up after some rounds. W7, which wakes more than is
//! needed here, is left out.

use crate::program::Ordering::{self, *};
use crate::program::Place::{self, Asleep, Descriptor, End, Number, Registered, Room, Tickets};
use crate::program::Reg::{
    self, Announced, FirstResult, Found, Head, Limit, News, Now, Popped, Result, Round, Sure, Tail,
    Woken,
};
use crate::program::{
    Code, Expr, Word, compare_exchange, compiler_fence, exchange, fence, fetch_add, is, load,
    membarrier, nap, nothing, of, repeat, seq, set, sleep, stop, store, wake_all, wake_one, when,
    when_else, when_exchanged,
};
use crate::ring::{
    CLOSED, EMPTY, FULL, POPPED, PUSHED, RING, RingOrders, claim, claim_alone, close, ended,
    is_empty, poll, publish, read_both, try_pop,
};

const STATE: Word = 0b11;
const IDLE: Word = 0;
const LINGERING: Word = 1;
pub(crate) const WANTED: Word = 2;
pub(crate) const WAKING: Word = 3;
pub(crate) const ARMED: Word = 4;
pub(crate) const NEXT: Word = 8;

/// Leaves a loop that goes on for ever when it has been gone through so often.
fn stop_after(rounds: Word) -> Code {
    seq([
        set(Round, of([Round], |[round]| round + 1)),
        when(is([Round], move |[round]| round == rounds), stop()),
    ])
}

/// What can be weakened or left out.
#[derive(Clone, Copy)]
pub(crate) struct Orders {
    pub(crate) ring: RingOrders,
    /// [notify:L]
    pub(crate) wake: Ordering,
    /// [sleep:F]
    pub(crate) sleep_fence: bool,
    /// [pop:F]
    pub(crate) room_fence: bool,
    /// Without it the compiler may exchange what is before and after it, and does so.
    pub(crate) light_barrier: bool,
    /// Without it there is nothing in its place, and the sleep is without bound all the same.
    pub(crate) heavy_barrier: bool,
    /// [announce:R]
    pub(crate) announce: Ordering,
    /// Whether a consumer that makes its descriptor takes back what was announced before it.
    pub(crate) takes_back: bool,
    /// What the system calls of an event descriptor are to the memory: they take its lock.
    pub(crate) descriptor: Ordering,
    /// Whether the word changes before all are woken.
    pub(crate) wakes_by_number: bool,
    /// Whether a producer that leaves announces for those that stay, and looks.
    pub(crate) passes_on: bool,
    /// Whether the consumer may linger. Where it does not, no wake needs to look whether it does.
    pub(crate) lingers: bool,
    /// [now:F]
    pub(crate) now_fence: bool,
    /// Whether who lingers looks at the tail before it sleeps.
    pub(crate) end_look: bool,
}

pub(crate) const AS_IT_IS: Orders = Orders {
    ring: RING,
    wake: SeqCst,
    sleep_fence: true,
    room_fence: true,
    light_barrier: true,
    heavy_barrier: true,
    announce: Release,
    takes_back: true,
    descriptor: AcqRel,
    wakes_by_number: true,
    passes_on: true,
    lingers: false,
    now_fence: true,
    end_look: true,
};

fn fence_if(is_there: bool, label: &'static str) -> Code {
    if is_there { fence().labelled(label) } else { nothing() }
}

pub(crate) fn heavy_barrier(orders: Orders) -> Code {
    if orders.heavy_barrier { membarrier().labelled("heavy") } else { nothing() }
}

/// `first`, the light barrier, `then`.
pub(crate) fn with_light_barrier(first: Code, then: Code, orders: Orders) -> Code {
    match orders.light_barrier {
        true => seq([first, compiler_fence(), then]),
        false => seq([then, first]),
    }
}

/// The word after an exchange from `Now`, whether it succeeded or not.
fn now_after_exchange(succeeded: Expr) -> Code {
    when_exchanged(Now, Found, set(Now, succeeded), set(Now, Found))
}

/// The next number, and IDLE.
fn next(word: Word) -> Word {
    word - word % NEXT + NEXT
}

/// Says that the caller is about to sleep, and how it is to be woken. What to sleep on is in
/// `Announced`.
pub(crate) fn prepare_wait(word: Place, how: Word, orders: Orders) -> Code {
    let publish = if how == ARMED { orders.announce } else { Relaxed };
    announce(word, WANTED + how, publish, orders)
}

fn announce(word: Place, state: Word, publish: Ordering, orders: Orders) -> Code {
    let announced = of([Now], move |[now]| {
        let number = now - now % NEXT + if now & STATE == IDLE { 0 } else { NEXT };
        number + state
    });
    seq([
        load(Now, word, Relaxed),
        repeat(seq([
            when(is([Now], move |[now]| now % NEXT == state), stop()),
            compare_exchange(Found, word, Now, announced.clone(), publish, Relaxed)
                .labelled("prepare_wait"),
            now_after_exchange(announced),
        ])),
        fence_if(orders.sleep_fence, "[sleep:F]"),
        set(Announced, Now),
    ])
}

/// Whether enough was claimed to end a linger, or the queue is closed: for `End` and `Tail`.
fn read_end() -> Code {
    seq([
        load(Limit, End, Relaxed).labelled("end"),
        load(Tail, Place::Tail, Relaxed).labelled("tail"),
    ])
}

fn has_ended() -> Expr {
    is([Limit, Tail], |[end, tail]| tail >= end)
}

/// The look at the word, for `wake_slow`.
fn look(word: Place, orders: Orders) -> Code {
    load(Now, word, orders.wake).labelled("[notify:L]")
}

/// The rest of `wake`.
fn wake_slow(word: Place, orders: Orders) -> Code {
    let unless_enough = seq([read_end(), when_else(has_ended(), nothing(), stop())]);
    wake_slow_where(if orders.lingers { unless_enough } else { stop() }, word, orders)
}

/// The same, where `unless_worth_it` stops if whoever lingers may do so.
fn wake_slow_where(unless_worth_it: Code, word: Place, orders: Orders) -> Code {
    let is_state = |state| is([Now], move |[now]| now & STATE == state);
    let claimed = of([Now], |[now]| now | WAKING);
    let unless_worth_it =
        if orders.lingers { when(is_state(LINGERING), unless_worth_it) } else { nothing() };
    let signal = seq([
        load(Found, Number, Relaxed).labelled("own"),
        when(
            is([Found], |[number]| number != 0),
            seq([
                fetch_add(Found, Descriptor, 1, orders.descriptor).labelled("signal"),
                wake_all(Descriptor),
            ]),
        ),
    ]);
    when(
        is([Now], |[now]| now & STATE != IDLE),
        seq([
            repeat(seq([
                when(is([Now], |[now]| matches!(now & STATE, IDLE | WAKING)), stop()),
                unless_worth_it,
                compare_exchange(Found, word, Now, claimed.clone(), Relaxed, Acquire)
                    .labelled("[notify:A]"),
                now_after_exchange(claimed),
            ])),
            when(
                is_state(WAKING),
                seq([
                    when_else(is([Now], |[now]| now & ARMED == 0), wake_one(word), signal),
                    compare_exchange(
                        Found,
                        word,
                        Now,
                        of([Now], |[now]| next(now)),
                        Relaxed,
                        Relaxed,
                    )
                    .labelled("idle"),
                ]),
            ),
        ]),
    )
}

/// Wakes the consumer after `news`.
pub(crate) fn wake_after(news: Code, orders: Orders) -> Code {
    seq([with_light_barrier(news, look(Asleep, orders), orders), wake_slow(Asleep, orders)])
}

/// The wake alone.
pub(crate) fn wake(word: Place, orders: Orders) -> Code {
    seq([look(word, orders), wake_slow(word, orders)])
}

/// `end_linger_now`.
pub(crate) fn wake_now(orders: Orders) -> Code {
    let is_not_wanted = is([Now], |[now]| now & STATE != WANTED);
    seq([
        fence_if(orders.now_fence, "[now:F]"),
        look(Asleep, orders),
        when(is_not_wanted, wake_slow_where(nothing(), Asleep, orders)),
    ])
}

/// The rest of a push, after the claim of `Index`.
pub(crate) fn publish_and_wake(orders: Orders) -> Code {
    wake_after(publish(), orders)
}

/// A push where there is room and nobody else claims.
pub(crate) fn push_alone(orders: Orders) -> Code {
    seq([claim_alone(orders.ring), publish_and_wake(orders)])
}

/// `try_push`, once.
pub(crate) fn try_push(capacity: Word, orders: Orders) -> Code {
    seq([claim(capacity, orders.ring), when(ended(PUSHED), publish_and_wake(orders))])
}

/// Wakes a producer after `popped` has released a slot.
pub(crate) fn room_after(popped: Code, orders: Orders) -> Code {
    let registered = load(Reg::Registered, Registered, Relaxed).labelled("[registered:L]");
    let wake =
        seq([fence_if(orders.room_fence, "[pop:F]"), look(Room, orders), wake_slow(Room, orders)]);
    seq([
        with_light_barrier(popped, registered, orders),
        when(is([Reg::Registered], |[registered]| registered != 0), wake),
    ])
}

/// Closes, and wakes everybody.
pub(crate) fn close_and_wake(orders: Orders) -> Code {
    let by = if orders.wakes_by_number { NEXT } else { 0 };
    seq([
        wake_after(close(orders.ring), orders),
        fetch_add(Found, Room, by, Relaxed).labelled("wake_many"),
        wake_all(Room),
    ])
}

/// Says that the consumer is awake.
fn cancel_wait() -> Code {
    exchange(Found, Asleep, of([Announced], |[announced]| next(announced)), Relaxed)
        .labelled("cancel_wait")
}

/// `try_pop_or_sleep`; `look_for_news` sets `News` where there is no need to sleep.
fn pop_or_sleep(look_for_news: Code, orders: Orders) -> Code {
    let may_sleep = seq([
        set(News, 0),
        look_for_news,
        when(is([News], |[news]| news == 0), sleep(Asleep, Announced)),
    ]);
    seq([
        prepare_wait(Asleep, 0, orders),
        read_both(),
        when_else(is_empty(), nothing(), heavy_barrier(orders)),
        try_pop(),
        set(FirstResult, Result),
        when(ended(EMPTY), may_sleep),
        cancel_wait(),
        when(is([FirstResult], |[result]| result == EMPTY), try_pop()),
    ])
}

/// `try_pop_or_sleep` of a consumer that lingers, until the tail has come to `end`.
pub(crate) fn linger(end: Word, look_for_news: Code, orders: Orders) -> Code {
    let may_sleep =
        seq([look_for_news, when(is([News], |[news]| news == 0), sleep(Asleep, Announced))]);
    seq([
        store(End, end, Relaxed),
        announce(Asleep, LINGERING, orders.announce, orders),
        set(News, 0),
        read_end(),
        if orders.end_look { when(has_ended(), set(News, 1)) } else { nothing() },
        try_pop(),
        set(FirstResult, Result),
        when(is([Result, News], |[result, news]| result == EMPTY && news == 0), may_sleep),
        cancel_wait(),
        when(is([FirstResult], |[result]| result == EMPTY), try_pop()),
    ])
}

/// `pop`, so many times, or until it is closed. Each time it sleeps up to `rounds` times.
pub(crate) fn consumer(count: Word, rounds: Word, orders: Orders) -> Code {
    let pop = seq([
        set(Round, 0),
        repeat(seq([
            pop_or_sleep(nothing(), orders),
            when(is([Result], |[result]| result != EMPTY), stop()),
            stop_after(rounds),
        ])),
    ]);
    repeat(seq([
        pop,
        when(is([Result], |[result]| result != POPPED), stop()),
        set(Popped, of([Popped], |[popped]| popped + 1)),
        when(is([Popped], move |[popped]| popped == count), stop()),
    ]))
}

/// `pop_unless`, of a [`Listener`](bywash::Listener) that serves one flush: it sleeps until a
/// ticket was drawn.
pub(crate) fn listener(orders: Orders) -> Code {
    let look = look_for_tickets();
    repeat(seq([
        pop_or_sleep(look.clone(), orders),
        look,
        when(is([News], |[news]| news != 0), stop()),
        stop_after(3),
    ]))
}

pub(crate) fn look_for_tickets() -> Code {
    load(News, Tickets, SeqCst).labelled("tickets")
}

/// `Listener::flush`, up to where it waits. It wakes who lingers, too.
pub(crate) fn flush(ticket: Ordering, orders: Orders) -> Code {
    let ticket = fetch_add(Found, Tickets, 1, ticket).labelled("ticket");
    seq([
        with_light_barrier(ticket, look(Asleep, orders), orders),
        wake_slow_where(nothing(), Asleep, orders),
    ])
}

/// `event_fd`, where there is no descriptor, and then an event loop.
pub(crate) fn new_event_loop(waits: Word, orders: Orders) -> Code {
    let take_back = seq([
        load(Found, Asleep, Relaxed),
        exchange(Found, Asleep, of([Found], |[found]| next(found)), Relaxed).labelled("reset"),
    ]);
    let take_back = if orders.takes_back { take_back } else { nothing() };
    seq([store(Number, 1, Relaxed).labelled("make"), take_back, event_loop(waits, orders)])
}

/// An event loop that pops one item: when there is nothing, it arms; when that says so, it waits
/// for its descriptor, up to `waits` times.
pub(crate) fn event_loop(waits: Word, orders: Orders) -> Code {
    let arm = seq([
        exchange(Found, Descriptor, 0, orders.descriptor).labelled("clear"),
        prepare_wait(Asleep, ARMED, orders),
        read_both(),
        when_else(is_empty(), nothing(), heavy_barrier(orders)),
        try_pop(),
    ]);
    let wait = seq([sleep(Descriptor, 0), stop_after(waits)]);
    repeat(seq([
        poll(),
        when(ended(EMPTY), seq([arm, when_else(ended(EMPTY), wait, cancel_wait())])),
        when(ended(POPPED), stop()),
    ]))
}

/// `push_slow`: sleeps until there is room.
pub(crate) fn waiting_producer(capacity: Word, orders: Orders) -> Code {
    seq([
        fetch_add(Reg::Registered, Registered, 1, Relaxed).labelled("[register:A]"),
        set(Woken, 1),
        push_asleep(capacity, orders),
        leave(capacity, orders),
    ])
}

fn push_asleep(capacity: Word, orders: Orders) -> Code {
    let is_set = |register| is([register], |[value]| value != 0);
    let tried =
        || seq([try_push(capacity, orders), when(is([Result], |[result]| result != FULL), stop())]);
    repeat(seq([
        // `push_awake`: once, in its moment.
        when(is_set(Woken), tried()),
        prepare_wait(Room, 0, orders),
        when_else(is_set(Woken), set(Sure, 0), seq([heavy_barrier(orders), set(Sure, 1)])),
        tried(),
        stop_after(3),
        when_else(is_set(Sure), sleep(Room, Announced), nap(Room, Announced)),
        has_woken(),
    ]))
}

fn has_woken() -> Code {
    let has_changed = |[found, announced]: [Word; 2]| Word::from(found != announced);
    seq([load(Found, Room, Relaxed), set(Woken, of([Found, Announced], has_changed))])
}

/// Passes the wake on, if anybody else is registered.
pub(crate) fn leave(capacity: Word, orders: Orders) -> Code {
    let pass_on = seq([
        prepare_wait(Room, 0, orders),
        load(Tail, Place::Tail, Acquire),
        load(Head, Place::Head, Acquire),
        when(
            is([Tail, Head], move |[tail, head]| tail & CLOSED != 0 || tail - head < capacity),
            wake(Room, orders),
        ),
    ]);
    let pass_on = if orders.passes_on { pass_on } else { nothing() };
    let one_less = fetch_add(Reg::Registered, Registered, Word::MAX, Relaxed);
    seq([one_less, when(is([Reg::Registered], |[registered]| registered != 1), pass_on)])
}
