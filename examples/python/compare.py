"""Throughput and latency beside queue.Queue and queue.SimpleQueue, which has no bound."""

import queue
import statistics
import sys
import threading
import time

import bywash

MAXSIZE = 1000
ITEMS = 200_000
MESSAGES = 1_000
PAUSE = 0.0005
ROUNDS = 5

QUEUES = {
    "bywash.Queue": lambda: bywash.Queue(MAXSIZE),
    "queue.Queue": lambda: queue.Queue(MAXSIZE),
    "queue.SimpleQueue": queue.SimpleQueue,
}


def run(q, producers, produce, read):
    threads = [threading.Thread(target=produce, args=(q,)) for _ in range(producers)]
    for thread in threads:
        thread.start()
    result = read(q)
    for thread in threads:
        thread.join()
    return result


def throughput(q, producers):
    """Nanoseconds for each item, all threads together."""
    each = ITEMS // producers

    def produce(q):
        put = q.put
        for i in range(each):
            put(i)

    def read(q):
        get = q.get
        start = time.perf_counter_ns()
        for _ in range(each * producers):
            get()
        return (time.perf_counter_ns() - start) / (each * producers)

    return run(q, producers, produce, read)


def latency(q, producers):
    """Microseconds from put to get, while each producer puts an item now and then."""
    each = MESSAGES // producers

    def produce(q):
        for _ in range(each):
            time.sleep(PAUSE)
            q.put(time.perf_counter_ns())

    def read(q):
        delays = []
        for _ in range(each * producers):
            put = q.get()
            delays.append((time.perf_counter_ns() - put) / 1000)
        return delays

    return run(q, producers, produce, read)


def main():
    items, late = {}, {}
    for _ in range(ROUNDS):
        for producers in (1, 4):
            for name, make in QUEUES.items():
                items.setdefault((name, producers), []).append(throughput(make(), producers))
                late.setdefault((name, producers), []).extend(latency(make(), producers))
    print(f"Python {sys.version.split()[0]}, {MAXSIZE} places, medians of {ROUNDS} rounds\n")
    print("|  | producers | ns an item | put to get, median µs | of a hundred the slowest µs |")
    print("|---|--:|--:|--:|--:|")
    for (name, producers), nanos in items.items():
        delays = late[name, producers]
        slowest = statistics.quantiles(delays, n=100)[-1]
        middle, median = statistics.median(nanos), statistics.median(delays)
        print(f"| `{name}` | {producers} | {middle:.0f} | {median:.0f} | {slowest:.0f} |")


if __name__ == "__main__":
    main()
