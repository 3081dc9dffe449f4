//! A static queue on bare metal: two interrupts push, the more urgent one on top of the other, and
//! the main loop pops.
//!
//! ```text
//! rustup target add thumbv7m-none-eabi      # and install qemu-system-arm
//! cd examples/cortex_m && cargo run --release
//! ```
//!
//! Goes on until a push has interrupted another a million times. Checks that every item that was
//! accepted comes out, once and in its interrupt's order.
#![no_std]
#![no_main]

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use bywash::{StaticConsumer, StaticQueue};
use cortex_m::Peripherals;
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::scb::SystemHandler;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{NVIC, SYST};
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::{debug, hprintln};

/// How often one push is to interrupt another.
const TIMES: u32 = 1_000_000;

type Queue = StaticQueue<u32, 8, 0>;
static QUEUE: Queue = Queue::new();
// As the documentation says.
const _: () = assert!(size_of::<Queue>() == 296);

/// The highest bit of an item, by the interrupt that pushed it.
const SOURCES: [u32; 2] = [0, 1 << 31];

/// One of the interrupts.
struct Source {
    accepted: AtomicU32,
    refused: AtomicU32,
}

impl Source {
    const fn new() -> Self {
        Self { accepted: AtomicU32::new(0), refused: AtomicU32::new(0) }
    }

    fn push(&self, bit: u32) {
        let is_in = push(bit | self.accepted.load(Relaxed));
        let counter = if is_in { &self.accepted } else { &self.refused };
        counter.store(counter.load(Relaxed) + 1, Relaxed);
    }
}

/// By itself, so that the size of its code can be seen.
#[inline(never)]
fn push(item: u32) -> bool {
    QUEUE.try_push(item).is_ok()
}

#[inline(never)]
fn pop(consumer: &mut StaticConsumer<'_, u32, 8, 0>) -> Option<u32> {
    consumer.try_pop().ok()
}

static CALM: Source = Source::new();
static URGENT: Source = Source::new();
static IS_PUSHING: AtomicBool = AtomicBool::new(false);
static ON_TOP: AtomicU32 = AtomicU32::new(0);

/// The calm interrupt, which the main loop asks for.
#[derive(Clone, Copy)]
struct Calm;

// SAFETY: the processor has at least one.
unsafe impl InterruptNumber for Calm {
    fn number(self) -> u16 {
        0
    }
}

#[exception]
unsafe fn DefaultHandler(_number: i16) {
    for _ in 0..8 {
        IS_PUSHING.store(true, Relaxed);
        CALM.push(SOURCES[0]);
        IS_PUSHING.store(false, Relaxed);
    }
}

/// The urgent one comes at any time, after a time that differs.
#[exception]
fn SysTick() {
    ON_TOP.store(ON_TOP.load(Relaxed) + u32::from(IS_PUSHING.load(Relaxed)), Relaxed);
    URGENT.push(SOURCES[1]);
    let number = URGENT.accepted.load(Relaxed) + URGENT.refused.load(Relaxed);
    // SAFETY: nobody else writes it from here on.
    unsafe { (*SYST::PTR).rvr.write(100 + number.wrapping_mul(7919) % 97) };
}

#[entry]
fn main() -> ! {
    let mut peripherals = Peripherals::take().expect("it is the first call");
    // The lower the number, the more urgent. SAFETY: nothing relies on the priorities.
    unsafe {
        peripherals.SCB.set_priority(SystemHandler::SysTick, 0x20);
        peripherals.NVIC.set_priority(Calm, 0xE0);
        NVIC::unmask(Calm);
    }
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(100);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();

    let mut consumer = QUEUE.consumer().expect("it is the first call");
    let mut popped = [0; 2];
    while ON_TOP.load(Relaxed) < TIMES {
        NVIC::pend(Calm);
        while let Some(item) = pop(&mut consumer) {
            let (source, number) = ((item >> 31) as usize, item & !SOURCES[1]);
            assert_eq!(number, popped[source], "the next item of interrupt {source}");
            popped[source] += 1;
        }
    }
    peripherals.SYST.disable_interrupt();
    for item in consumer.try_iter() {
        popped[(item >> 31) as usize] += 1;
    }

    for (name, source, popped) in [("calm", &CALM, popped[0]), ("urgent", &URGENT, popped[1])] {
        let [accepted, refused] =
            [&source.accepted, &source.refused].map(|count| count.load(Relaxed));
        hprintln!("{}: {} pushed, {} popped, {} refused", name, accepted, popped, refused);
        assert_eq!(accepted, popped);
    }
    let on_top = ON_TOP.load(Relaxed);
    hprintln!("{} pushes on top of a push; the queue has {} bytes", on_top, size_of::<Queue>());
    debug::exit(debug::EXIT_SUCCESS);
    unreachable!("the emulator has ended");
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    debug::exit(debug::EXIT_FAILURE);
    loop {
        cortex_m::asm::bkpt();
    }
}
