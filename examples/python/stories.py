"""The deadlocks that bywash is for, as programs: each on queue.Queue, where it freezes, and on
bywash.Queue, where it ends with everything accounted for.

    python stories.py               all of them; shows where each one stands still
    python stories.py NAME CLASS    one of them, on "queue" or "bywash"
    python stories.py --times 100   all of them on bywash, so many times
"""

import faulthandler
import gc
import itertools
import logging
import logging.handlers
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

import bywash

# A frozen program is one that has shown the expected stack after so many seconds. One that depends
# on when the garbage collector runs, freezes at some time.
PATIENCE = [3] * 10 + [15, 60]
# What has not ended on bywash after so many seconds, never will.
LIMIT = 300


def refusals_of(put, *items):
    """Puts the items, and returns how many were refused."""
    refused = 0
    for item in items:
        try:
            put(item)
        except bywash.WouldDeadlock:
            refused += 1
    return refused


def take_all(q):
    items = []
    while True:
        try:
            items.append(q.get_nowait())
        except queue.Empty:
            return items


def finaliser_on_the_reader(Queue):
    """The reader drops the last reference to a session, whose finaliser logs to the same queue, while
    others fill it: the reader waits for room that only it can make."""
    q = Queue(4)
    sessions = 300
    refused = 0

    class Session:
        def __del__(self):
            nonlocal refused
            refused += refusals_of(q.put, "closed")

    def produce():
        for _ in range(sessions):
            q.put(Session())

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    got = {"session": 0, "closed": 0}
    while got["session"] < sessions or not q.empty():
        item = q.get()
        if item == "closed":
            got["closed"] += 1
            continue
        got["session"] += 1
        while producer.is_alive() and not q.full():
            time.sleep(0)
        del item  # Puts.
    return got == {"session": sessions, "closed": sessions} and refused == 0, f"{got}, {refused} refused"


def put_reentered_by_a_finaliser(Queue):
    """The garbage collector runs in the middle of a get, and a finaliser puts: it waits for the lock
    that the interrupted call holds (bpo-14976)."""
    q = Queue(100_000)
    rounds = 20_000
    numbers = itertools.count()

    class Garbage:
        def __init__(self):
            self.itself = self

        def __del__(self):
            q.put(("finaliser", next(numbers)))

    gc.set_threshold(5)
    got = []
    for i in range(rounds):
        Garbage()
        q.put(("main", i))
        got += take_all(q)
    gc.set_threshold(700)
    gc.collect()
    got += take_all(q)
    mains = [i for who, i in got if who == "main"]
    finalisers = [i for who, i in got if who == "finaliser"]
    ends_well = mains == list(range(rounds)) and finalisers == list(range(rounds))
    return ends_well, f"{len(mains)} items and {len(finalisers)} of finalisers, each in order"


def put_reentered_by_a_signal(Queue):
    """A signal handler puts in the middle of a put, which may be waiting for room."""
    q = Queue(16)
    rounds = 30_000
    numbers = itertools.count()
    pause = 0.0002
    got = []

    def handle(*_):
        q.put(("handler", next(numbers)))
        signal.setitimer(signal.ITIMER_REAL, pause)

    def read():
        while (item := q.get()) is not None:
            got.append(item)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, pause)
    for i in range(rounds):
        q.put(("main", i))
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    q.put(None)
    reader.join()
    mains = [i for who, i in got if who == "main"]
    handlers = [i for who, i in got if who == "handler"]
    ends_well = mains == list(range(rounds)) and handlers == list(range(next(numbers))) != []
    return ends_well, f"{len(mains)} items and {len(handlers)} of the handler"


def logging_unmodified(Queue):
    """QueueHandler and QueueListener as they come with Python, with a slow handler behind them, and
    objects that log when they are finalised."""
    lines, threads = 1500, 3
    q = Queue(100_000)
    written = []

    class Slow(logging.Handler):
        def emit(self, record):
            Session("handler")  # Garbage of the listener's thread.
            time.sleep(0.0001)
            written.append(record.getMessage())

    closed = itertools.count()

    class Session:
        def __init__(self, name):
            self.name, self.itself = name, self

        def __del__(self):
            # A session of a session's log line would go on forever.
            if self.name != "handler" or next(closed) % 4 == 0:
                log.info("closed")

    log = logging.getLogger("app")
    log.setLevel(logging.INFO)
    log.addHandler(logging.handlers.QueueHandler(q))
    listener = logging.handlers.QueueListener(q, Slow())
    gc.set_threshold(2)
    # As under a profiler: frames are objects then, so that the collector runs at any call.
    threading.setprofile(lambda *_: None)
    listener.start()

    def work(thread):
        for line in range(lines):
            Session("work")
            log.info("thread %d line %d", thread, line)

    workers = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    listener.stop()
    gc.set_threshold(700)
    gc.collect()
    # What finalisers have logged since.
    written += [record.getMessage() for record in take_all(q)]
    of_threads = [
        [line for line in written if line.startswith(f"thread {i} ")]
        == [f"thread {i} line {line}" for line in range(lines)]
        for i in range(threads)
    ]
    is_closed = written.count("closed")
    ends_well = all(of_threads) and is_closed >= lines * threads
    return ends_well, f"{len(written) - is_closed} lines in order, {is_closed} of finalisers"


def logging_that_waits(Queue):
    """A QueueHandler that waits for room, so that no line is lost, and a slow handler behind it whose
    objects log when they are finalised: the listener waits for room that only it can make."""
    lines, threads = 300, 3
    q = Queue(8)
    written = []

    class Waiting(logging.handlers.QueueHandler):
        def handle(self, record):
            # Without the lock: the listener's thread, which logs, too, would wait for those that wait
            # for room.
            if self.filter(record):
                self.emit(record)

        def enqueue(self, record):
            self.queue.put(record)

    class Session:
        def __del__(self):
            log.info("closed")

    class Slow(logging.Handler):
        def emit(self, record):
            line = record.getMessage()
            session = None if line == "closed" else Session()
            time.sleep(0.0001)
            written.append(line)
            del session  # Logs.

    log = logging.getLogger("app")
    log.setLevel(logging.INFO)
    log.addHandler(Waiting(q))
    listener = logging.handlers.QueueListener(q, Slow())
    listener.start()

    def work(thread):
        for line in range(lines):
            log.info("thread %d line %d", thread, line)

    workers = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    while not q.empty():
        time.sleep(0.001)
    listener.stop()
    written += [record.getMessage() for record in take_all(q)]
    all_lines = [f"thread {i} line {line}" for i in range(threads) for line in range(lines)]
    closed = written.count("closed")
    ends_well = sorted(written) == sorted(all_lines + ["closed"] * lines * threads)
    return ends_well, f"{len(written) - closed} lines, {closed} of finalisers"


def joined_before_drained(Queue):
    """A parent joins its children before it drains the queue that they put their results into."""
    q = Queue(4)
    children, results = 3, 20
    kept = []

    def work(child):
        for i in range(results):
            try:
                q.put((child, i))
            except bywash.WouldDeadlock:
                kept.append((child, i))  # For the parent, which would never make room.

    def start(child):
        # The parent waits for the child, so the child must not wait for the parent.
        work_inside = (q.inside, work, child) if hasattr(q, "inside") else (work, child)
        thread = threading.Thread(target=work_inside[0], args=work_inside[1:], daemon=True)
        thread.start()
        return thread

    for thread in [start(child) for child in range(children)]:
        thread.join()
    drained = take_all(q)
    everything = [(child, i) for child in range(children) for i in range(results)]
    ends_well = sorted(drained + kept) == everything
    return ends_well, f"{len(drained)} results from the queue, {len(kept)} handed over"


def two_readers_in_a_circle(Queue):
    """Two services report to each other. When both queues are full, each reader waits for the other
    one, and neither drains its own."""
    a, b = Queue(4), Queue(4)
    items = 2000
    totals = {"got": 0, "reports": 0, "refused": 0}
    count = threading.Lock()

    def serve(own, other):
        left = items
        while left or totals["reports"] + totals["refused"] < 2 * items:
            try:
                item = own.get(timeout=None if left else 0.05)
            except queue.Empty:
                continue
            refused = 0
            if item == "from outside":
                left -= 1
                refused = refusals_of(other.put, "report")
            with count:
                totals["got" if item == "from outside" else "reports"] += 1
                totals["refused"] += refused

    def produce(q):
        for _ in range(items):
            q.put("from outside")

    threads = [
        threading.Thread(target=target, args=args, daemon=True)
        for target, args in [(produce, (a,)), (produce, (b,)), (serve, (a, b)), (serve, (b, a))]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends_well = totals["got"] == 2 * items and totals["reports"] + totals["refused"] == 2 * items
    return ends_well, f"{totals}"


def exit_while_all_wait(Queue):
    """The interpreter ends while threads wait on both ends, and a finaliser of a global object puts
    into a full queue whose reader will never run again."""
    empty, full, held = Queue(1), Queue(1), Queue(1)
    full.put("the only one")
    for wait in [empty.get, lambda: full.put("no room")]:
        threading.Thread(target=wait, daemon=True).start()

    def read():
        held.get()
        threading.Event().wait()

    threading.Thread(target=read, daemon=True).start()
    held.put("taken")
    held.put("the only one")

    class Last:
        def __del__(self, put=held.put, write=os.write):
            try:
                put("goodbye")
            except Exception as error:
                write(2, f"at the end: {error}\n".encode())

    Last.keep = [Last()]  # Until the interpreter has ended.
    return True, "main returns"


# Each with what its frozen stack shows.
STORIES = {
    finaliser_on_the_reader: r"in put\n(.*\n)*.*in __del__",
    put_reentered_by_a_finaliser: r"in __enter__\n.*in put\n.*in __del__\n(.*\n)*?.*in get\n",
    put_reentered_by_a_signal: r"in __enter__\n.*in put\n.*in handle\n(.*\n)*?.*in put\n",
    logging_unmodified: r"in __enter__\n.*in put\n(.*\n)*?.*in __del__\n(.*\n)*?.*in (put|get)\n",
    logging_that_waits: r"in put\n.*in enqueue\n(.*\n)*?.*in __del__\n(.*\n)*?.*in _monitor\n",
    joined_before_drained: r"in put\n(.*\n)*.*in join\n",
    two_readers_in_a_circle: r"(.*in put\n(.*\n)*?.*in serve\n(.*\n)*?){2}",
    exit_while_all_wait: r"in put\n(.*\n)*.*in __del__",
}


def tell(name, module):
    """One story, in this process."""
    Queue = {"queue": queue.Queue, "bywash": bywash.Queue}[module]
    faulthandler.dump_traceback_later(float(os.environ["LIMIT"]), exit=True)
    ends_well, account = globals()[name](Queue)
    print(account)
    if not ends_well:
        sys.exit("NOT ACCOUNTED FOR")


def start(story, module, limit):
    command = [sys.executable, __file__, story.__name__, module]
    pipe = subprocess.PIPE
    env = os.environ | {"LIMIT": str(limit)}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env)


def end(process):
    out, errors = process.communicate()
    return process.returncode, out.strip(), errors.strip()


def stand_still(stories):
    """Runs them on queue.Queue. Returns the stacks of those that have frozen as expected."""
    frozen = {}
    for limit in PATIENCE:
        if len(frozen) == len(stories):
            break
        left = {story: start(story, "queue", limit) for story in stories if story not in frozen}
        for story, process in left.items():
            _, _, errors = end(process)
            if "Timeout (" in errors and re.search(STORIES[story], errors):
                frozen[story] = errors
    return frozen


def shortened(stack):
    """The innermost frames of the main thread, or of the thread that says most."""
    threads = [lines for lines in stack.split("\n\n") if "Thread" in lines]
    lines = max(threads, key=lambda lines: ("__del__" in lines or "handle" in lines, "put" in lines))
    frames = [line.strip() for line in lines.splitlines() if line.strip().startswith("File")]
    return [re.sub(r'File ".*/([^/]+)", line', r"\1:", frame) for frame in frames[:9]]


def main(times):
    stories = list(STORIES)
    failed = []
    if times == 1:
        frozen = stand_still(stories)
        for story in stories:
            print(f"\n{story.__name__}: {' '.join(story.__doc__.split())}")
            if story not in frozen:
                failed.append(f"{story.__name__} does not freeze on queue.Queue")
                continue
            print("  queue.Queue: frozen")
            for frame in shortened(frozen[story]):
                print(f"    {frame}")
            failed += run(story)
    else:
        for story in stories:
            for _ in range(times):
                failed += run(story, quietly=True)
            print(f"{story.__name__}: {times} times", flush=True)
    print()
    sys.exit("\n".join(failed) if failed else None)


def run(story, quietly=False):
    status, account, errors = end(start(story, "bywash", LIMIT))
    if not quietly or status:
        said = f" ({errors})" if errors else ""
        print(f"  bywash.Queue: {'done' if status == 0 else 'FAILED'}: {account}{said}", flush=True)
    return [] if status == 0 else [f"{story.__name__} failed on bywash.Queue"]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] != "--times":
        tell(*arguments)
    else:
        main(int(arguments[1]) if arguments else 1)
