"""Storms with exact accounts: threads, finalisers and a signal handler put, a reader takes, and the
garbage collector runs in every trace event. BYWASH_STORM_SECONDS is how long each of them lasts.

Each thread's items come out in order, and every item once. What was refused is known by number. Each
object that was made is finalised once. Memory is flat from round to round.
"""

import faulthandler
import gc
import itertools
import os
import queue
import signal
import sys
import threading
import time

import bywash

SECONDS = float(os.environ.get("BYWASH_STORM_SECONDS", "5"))
ROUNDS = 8
PRODUCERS = 3
# A finaliser puts another item, whose finaliser puts another one.
GENERATIONS = 2
# What changes from round to round although nothing leaks.
FEW_BLOCKS = 300
FEW_BYTES = 8 << 20


class Storm:
    def __init__(self, maxsize, bypass):
        self.q = bywash.Queue(maxsize, bypass=bypass)
        # Each `next` is one step, which no finaliser or handler interrupts.
        self.made, self.finalised = itertools.count(), itertools.count()
        self.numbers = itertools.count()
        self.handled = itertools.count()
        self.refused = []
        self.seen = bytearray(1 << 16)
        self.next_of = [0] * PRODUCERS
        self.ends = 0
        self.stop = False

    def put_numbered(self, put, generation):
        """For finalisers and handlers, in whatever they interrupt."""
        number = next(self.numbers)
        try:
            put((None, number, Item(self, generation)))
        except queue.Full:
            self.refused.append(number)

    def produce(self, producer):
        for number in itertools.count():
            self.q.put((producer, number, Item(self, 0)))
            if number % 16 == 0:
                Garbage(self)
            if self.stop:
                break
        self.q.put((producer, number + 1, None))

    def take(self, got):
        producer, number, item = got
        if producer is None:
            while len(self.seen) <= number:
                self.seen += bytes(len(self.seen))
            assert not self.seen[number], f"{number} came twice"
            self.seen[number] = 1
        else:
            assert self.next_of[producer] == number, f"{self.next_of[producer]}, not {number}"
            self.next_of[producer] += 1
            self.ends += item is None

    def read_until_told(self):
        while (got := self.q.get()) is not None:
            self.take(got)

    def read_until_ended(self, threads):
        while any(thread.is_alive() for thread in threads):
            try:
                self.take(self.q.get(timeout=0.01))
            except queue.Empty:
                pass

    def drain(self):
        while True:
            gc.collect()
            try:
                while True:
                    self.take(self.q.get_nowait())
            except queue.Empty:
                gc.collect()
                if self.q.empty():
                    return

    def handle(self, *_):
        handled = next(self.handled)
        # A put that waits, if this is not the reader's thread.
        self.put_numbered(self.q.put if handled % 2 else self.q.put_nowait, GENERATIONS - 1)
        if not self.stop:
            signal.setitimer(signal.ITIMER_REAL, PAUSE)

    def check(self):
        assert self.ends == PRODUCERS
        numbers = next(self.numbers)
        missing = [number for number in range(numbers) if not self.seen[number : number + 1] == b"\x01"]
        assert missing == sorted(self.refused), "what has not come was refused, and nothing else"
        made, finalised = next(self.made), next(self.finalised)
        assert made == finalised, f"{made} made, {finalised} finalised"
        return sum(self.next_of) + numbers - len(self.refused), len(self.refused)


class Item:
    def __init__(self, storm, generation):
        next(storm.made)
        self.storm, self.generation = storm, generation

    def __del__(self):
        next(self.storm.finalised)
        if self.generation < GENERATIONS and next(self.storm.handled) % 4 == 0:
            self.storm.put_numbered(self.storm.q.put, self.generation + 1)


class Garbage:
    """In a circle, so that the collector finalises it, wherever that runs."""

    def __init__(self, storm):
        next(storm.made)
        self.storm, self.itself = storm, self

    def __del__(self):
        next(self.storm.finalised)
        self.storm.put_numbered(self.storm.q.put, GENERATIONS)


PAUSE = 0.0005


def collect(*_):
    """Traces every line of every function."""
    gc.collect()
    return collect


def round_of(storm, seconds, main_reads, is_traced):
    """The main thread, which signals interrupt, is the reader or one of the producers. While anybody
    else may put, there is a reader: a finaliser may wait for room, too."""
    first = 0 if main_reads else 1
    others = [threading.Thread(target=storm.produce, args=(i,)) for i in range(first, PRODUCERS)]
    others.append(threading.Timer(seconds, setattr, (storm, "stop", True)))
    reader = threading.Thread(target=storm.read_until_told)
    signal.signal(signal.SIGALRM, storm.handle)
    trace = collect if is_traced else None
    threading.settrace(trace)
    for thread in others if main_reads else [*others, reader]:
        thread.start()
    signal.setitimer(signal.ITIMER_REAL, PAUSE)
    sys.settrace(trace)
    if main_reads:
        storm.read_until_ended(others)
    else:
        storm.produce(0)
    sys.settrace(None)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    for thread in others:
        thread.join()
    if not main_reads:
        gc.disable()
        storm.q.put(None)
        reader.join()
        storm.q.bind()
        gc.enable()
    threading.settrace(None)
    storm.drain()
    return storm.check()


def memory():
    gc.collect()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return sys.getallocatedblocks(), pages * os.sysconf("SC_PAGE_SIZE")


def storm(name, is_traced, maxsize, bypass):
    # For this storm alone: on a busy machine, all of them together take far longer.
    faulthandler.dump_traceback_later(SECONDS * 2 + 300, exit=True)
    items = refused = 0
    after = []
    for number in range(ROUNDS):
        one = Storm(maxsize, bypass)
        passed, of_these_refused = round_of(one, SECONDS / ROUNDS, number % 2 == 0, is_traced)
        items, refused = items + passed, refused + of_these_refused
        del one
        after.append(memory())
    # The first two rounds, with the main thread at either end, touch things for the first time.
    blocks, size = (last - first for last, first in zip(after[-1], after[1]))
    print(f"{name}: {items} items, {refused} refused; {blocks} blocks, {size >> 10} KiB more", flush=True)
    assert blocks <= FEW_BLOCKS and size <= FEW_BYTES, after


if __name__ == "__main__":
    gc.collect()
    gc.freeze()
    for maxsize, bypass in [(1, 0), (8, None), (1000, None)]:
        size = f"{maxsize} places, a bypass of {'the default' if bypass is None else bypass}"
        storm(f"a collection in every trace event, {size}", True, maxsize, bypass)
        storm(f"a collection now and then, {size}", False, maxsize, bypass)
