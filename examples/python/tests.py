"""What bywash.Queue does, and what it refuses, in words."""

import gc
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
import unittest
import weakref

import bywash


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def in_child(function):
    """Calls it in a forked child. Returns what the child has written, and fails if that raised."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(write, str(function()).encode())
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    os.close(write)
    with open(read) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
    return said


def run(program):
    """Runs it in an interpreter of its own, which must end. Returns status, output and errors."""
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


class Unsure:
    def __bool__(self):
        return 1 / 0 > 0


class Refusals(unittest.TestCase):
    def test_there_is_a_bound(self):
        for maxsize in [(), (0,), (-1,)]:
            with self.assertRaisesRegex(ValueError, "has a bound: maxsize must be 1 or more"):
                bywash.Queue(*maxsize)
        self.assertEqual(bywash.Queue(1).maxsize, 1)
        with self.assertRaises(AttributeError):
            bywash.Queue(1).maxsize = 2
        # With a message of the crate's on stderr.
        program = f"import bywash; bywash.Queue({sys.maxsize})"
        self.assertIn("MemoryError: no memory for so many places", run(program)[2])

    def test_what_queue_has_and_this_has_not(self):
        q = bywash.Queue(1)
        for name, words in {
            "task_done": "counts no unfinished tasks",
            "join": "counts no unfinished tasks",
            "shutdown": "called close",
            "mutex": "no attribute 'mutex'",
        }.items():
            self.assertFalse(hasattr(q, name))
            with self.assertRaisesRegex(AttributeError, words):
                getattr(q, name)
        with self.assertRaisesRegex(TypeError, "not an acceptable base type"):
            type("Mine", (bywash.Queue,), {})

    def test_one_thread_reads_at_a_time(self):
        q = bywash.Queue(1)
        got = []
        reader = in_thread(lambda: got.append(q.get()))
        words = "another thread waits in get: a bywash.Queue has one reader at a time"
        refused = 0
        while refused < 10:
            try:
                q.get_nowait()
            except RuntimeError as error:
                refused += 1
                self.assertEqual(str(error), words)
            except queue.Empty:
                time.sleep(0.001)  # The other one does not wait yet.
                self.assertEqual(refused, 0)
            gc.collect()  # Looks at the queue, too.
        self.assertRaisesRegex(RuntimeError, words, q.bind)
        q.put("item")
        reader.join()
        self.assertEqual(got, ["item"])
        q.put("the next reader's")
        self.assertEqual(q.get(), "the next reader's")

    def test_arguments_are_as_those_of_queue(self):
        q = bywash.Queue(1)
        for call in [lambda timeout: q.put(1, timeout=timeout), lambda timeout: q.get(True, timeout)]:
            for timeout in [-1, -0.5, float("nan")]:
                with self.assertRaisesRegex(ValueError, "must be a non-negative number"):
                    call(timeout)
            with self.assertRaises(TypeError):
                call("soon")
        q.put(1, False, -1)  # Not looked at.
        self.assertRaises(queue.Full, q.put, 2, 0)
        self.assertRaises(queue.Full, q.put, 2, timeout=0)
        self.assertRaises(queue.Full, q.put, 2, block=True, timeout=0.01)
        self.assertEqual(q.get(timeout=float("inf")), 1)
        self.assertRaises(queue.Empty, q.get, block=[])
        self.assertRaises(queue.Empty, q.get, None)
        self.assertRaises(ZeroDivisionError, q.get, Unsure())
        self.assertRaises(queue.Empty, q.get, timeout=0)
        self.assertRaises(queue.Empty, q.get, timeout=0.01)


class Reader(unittest.TestCase):
    def test_a_refused_put_says_why(self):
        q = bywash.Queue(1, bypass=1)
        q.bind()
        q.put("in the queue")
        q.put("in the bypass")
        self.assertEqual((q.qsize(), q.full(), q.empty()), (2, True, False))
        for put in [q.put, q.put_nowait, lambda item: q.put(item, timeout=100)]:
            with self.assertRaisesRegex(queue.Full, "this is the thread that reads") as caught:
                put("no room")
            self.assertIs(type(caught.exception), bywash.WouldDeadlock)
        self.assertEqual([q.get(), q.get()], ["in the queue", "in the bypass"])
        self.assertTrue(q.empty())

    def test_on_another_thread_it_is_just_full(self):
        q = bywash.Queue(1)
        q.put(1)
        with self.assertRaises(queue.Full) as caught:
            q.put_nowait(2)
        self.assertIs(type(caught.exception), queue.Full)

    def test_threads_that_the_reader_waits_for(self):
        q = bywash.Queue(1, bypass=1)
        q.bind()
        result = []

        def work(item, *, why):
            q.put(item)
            q.put(item)
            with self.assertRaisesRegex(bywash.WouldDeadlock, "the reader waits for this thread"):
                q.put(item)
            result.append(why)
            return why

        thread = in_thread(lambda: result.append(q.inside(work, 1, why="joined")))
        thread.join()
        self.assertEqual(result, ["joined", "joined"])
        self.assertRaises(ZeroDivisionError, q.inside, lambda: 1 / 0)

    def test_a_get_moves_it(self):
        q = bywash.Queue(1)
        q.bind()
        q.put(1)
        q.put(2)  # In the bypass.
        got = []
        in_thread(lambda: got.extend([q.get(), q.get()])).join()
        self.assertEqual(got, [1, 2])
        q.put(1)
        self.assertRaises(queue.Full, q.put, 2, timeout=0.01)

    def test_a_circle_of_waits_is_refused_in_words(self):
        a, b = bywash.Queue(1, bypass=0), bywash.Queue(1, bypass=0)
        a.put(0)
        b.put(0)
        refused = []

        def serve(own, other):
            own.bind()
            try:
                other.put(1)
            except bywash.WouldDeadlock as error:
                refused.append(str(error))
            own.get()

        for thread in [in_thread(serve, a, b), in_thread(serve, b, a)]:
            thread.join()
        self.assertLessEqual(len(refused), 1)
        for words in refused:
            self.assertIn("their reader waits for this thread in another put", words)


class Close(unittest.TestCase):
    def test_what_is_in_it_comes_out(self):
        q = bywash.Queue(2)
        q.put(1)
        q.close()
        q.close()
        self.assertIn("closed", repr(q))
        for put in [q.put, q.put_nowait]:
            self.assertRaises(bywash.Closed, put, 2)
        self.assertEqual(q.get(), 1)
        for get in [q.get, q.get_nowait]:
            self.assertRaises(bywash.Closed, get)
        self.assertTrue(issubclass(bywash.Closed, queue.Full) and issubclass(bywash.Closed, queue.Empty))
        if hasattr(queue, "ShutDown"):
            self.assertTrue(issubclass(bywash.Closed, queue.ShutDown))

    def test_it_wakes_both_ends(self):
        empty, full = bywash.Queue(1), bywash.Queue(1)
        full.put(0)
        ended = []

        def wait(call):
            try:
                call()
            except bywash.Closed:
                ended.append(call)

        threads = [in_thread(wait, call) for call in [empty.get, lambda: full.put(1)]]
        empty.close()
        full.close()
        for thread in threads:
            thread.join()
        self.assertEqual(len(ended), 2)


class Signals(unittest.TestCase):
    def interrupted(self, call, error, handler):
        """Calls it, and lets the handler run in the middle, again and again until an error ends it."""
        is_calling = False
        done = threading.Event()

        def interrupt():
            while not done.wait(0.001):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

        def handle(*_):
            nonlocal is_calling
            if is_calling:
                try:
                    handler()
                except BaseException:
                    is_calling = False
                    raise

        before = signal.signal(signal.SIGUSR1, handle)
        thread = in_thread(interrupt)
        try:
            with self.assertRaises(error):
                is_calling = True
                call()
        finally:
            is_calling = False
            done.set()
            thread.join()
            signal.signal(signal.SIGUSR1, before)

    def test_a_put_and_a_get_that_wait_answer_an_interrupt(self):
        full, empty = bywash.Queue(1), bywash.Queue(1)
        full.put(0)

        def interrupt():
            raise KeyboardInterrupt

        for _ in range(20):
            self.interrupted(lambda: full.put(1), KeyboardInterrupt, interrupt)
            self.interrupted(empty.get, KeyboardInterrupt, interrupt)
        self.assertEqual((full.qsize(), full.get()), (1, 0))
        empty.put("not lost")
        self.assertEqual(empty.get(), "not lost")

    def test_ctrl_c(self):
        for call in ["q.put(1)", "p.get()"]:
            program = f"""
                import bywash, signal, threading, time
                q, p = bywash.Queue(1), bywash.Queue(1)
                q.put(0)
                done = threading.Event()
                def interrupt():
                    while not done.wait(0.01):
                        signal.raise_signal(signal.SIGINT)
                threading.Thread(target=interrupt, daemon=True).start()
                {call}
            """
            status, _, errors = run(program)
            self.assertEqual(status, -signal.SIGINT, errors)
            self.assertIn("KeyboardInterrupt", errors)

    def test_a_handler_takes_and_puts_in_the_middle_of_a_get(self):
        q = bywash.Queue(1)

        def handler():
            q.put(1)
            q.put(2)
            if q.get() != 1 or q.get() != 2:
                raise AssertionError
            raise LookupError

        for _ in range(20):
            self.interrupted(q.get, LookupError, handler)
        self.assertTrue(q.empty())

    def test_a_handler_becomes_the_reader_in_the_middle_of_a_put(self):
        q = bywash.Queue(1, bypass=0)
        q.put("first")
        # From then on this thread reads, so that the put would wait for itself.
        self.interrupted(lambda: q.put("second"), bywash.WouldDeadlock, q.bind)
        self.assertEqual(q.get(), "first")


class Fork(unittest.TestCase):
    def test_a_child_has_a_copy_of_everything(self):
        q = bywash.Queue(4)
        for i in range(3):
            q.put(i)

        def child():
            q.put(3)
            return [q.get() for _ in range(4)]

        self.assertEqual(in_child(child), "[0, 1, 2, 3]")
        self.assertEqual([q.get() for _ in range(3)], [0, 1, 2])

    def test_a_child_of_the_reader_is_the_reader(self):
        q = bywash.Queue(1, bypass=1)
        q.bind()

        def child():
            q.put(1)
            q.put(2)
            try:
                q.put(3)
            except bywash.WouldDeadlock as error:
                return q.get(), q.get(), str(error)

        self.assertIn("(1, 2, 'queue and bypass are full, and this", in_child(child))

    def test_no_put_of_a_child_waits_for_a_reader_in_the_parent(self):
        q = bywash.Queue(1)
        reader = in_thread(q.get)
        q.put("so that it is bound")
        reader.join()
        reader = in_thread(lambda: [q.get(), q.get()])

        def child():
            q.put(1)
            try:
                q.put(2)
            except bywash.WouldDeadlock as error:
                said = str(error)
            # The reader waited in get in the parent. Here, this thread takes its place.
            return said, q.get(), q.put(3), q.get()

        for _ in range(50):
            words = "the queue is full, and its reader stayed in the parent process"
            self.assertEqual(in_child(child), str((words, 1, None, 3)))
        q.put(1)
        q.put(2)
        reader.join()

    def test_children_of_a_busy_process_find_a_whole_queue(self):
        q = bywash.Queue(3)
        is_done = threading.Event()

        def produce():
            i = 0
            while not is_done.is_set():
                q.put(i)
                i += 1

        def read(got):
            while (item := q.get()) is not None:
                got.append(item)

        got = []
        threads = [in_thread(produce), in_thread(read, got)]

        def child():
            left = []
            while not q.empty():
                left.append(q.get())
            inherited = got[-1:] + left
            for i in range(10):
                q.put(i)
                left.append(q.get())
            in_order = all(a + 1 == b for a, b in zip(inherited, inherited[1:]))
            return in_order and len(inherited) <= 5 and left[-10:] == list(range(10))

        for _ in range(100):
            self.assertEqual(in_child(child), "True")
        is_done.set()
        threads[0].join()
        q.put(None)
        threads[1].join()
        self.assertEqual(got, list(range(len(got))))

    def test_a_handler_forks_in_the_middle_of_a_get_and_of_a_put(self):
        program = """
            import bywash, os, signal, sys, threading
            q = bywash.Queue(1)
            full = bywash.Queue(1)
            full.put("first")
            children = []
            def handle(*_):
                child = os.fork()
                if child == 0:
                    # Back to the interrupted call, in the child.
                    signal.signal(signal.SIGALRM, signal.SIG_IGN)
                    q.put("child")
                    if full.get() != "first":
                        os._exit(3)
                else:
                    children.append(child)
                    q.put("parent")
                    full.close()
            signal.signal(signal.SIGALRM, handle)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            if sys.argv[1] == "get":
                who = q.get()
                if who not in ("child", "parent"):
                    os._exit(2)
            else:
                try:
                    full.put("second")
                except bywash.Closed:
                    pass
            for child in children:
                if os.waitpid(child, 0)[1]:
                    sys.exit("the child failed")
        """
        for call in ["get", "put"]:
            status, _, errors = run("import sys; sys.argv.append(%r)\n%s" % (call, textwrap.dedent(program)))
            self.assertEqual(status, 0, errors)


class Exit(unittest.TestCase):
    def test_threads_wait_on_both_ends(self):
        program = """
            import bywash, threading, time
            empty, full = bywash.Queue(1), bywash.Queue(1)
            full.put(0)
            for wait in [empty.get, lambda: full.put(1)]:
                threading.Thread(target=wait, daemon=True).start()
            time.sleep({pause})
        """
        for pause in [0, 0, 0, 0.05]:
            self.assertEqual(run(program.format(pause=pause)), (0, "", ""))

    def test_an_atexit_callback_closes_and_joins(self):
        program = """
            import atexit, bywash, threading
            q = bywash.Queue(10)
            got = []
            def read():
                try:
                    while True:
                        got.append(q.get())
                except bywash.Closed:
                    print(len(got))
            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            atexit.register(lambda: (q.close(), reader.join()))
            for i in range(100):
                q.put(i)
        """
        self.assertEqual(run(program), (0, "100\n", ""))

    def test_at_the_very_end_nothing_waits(self):
        program = """
            import bywash, os
            class Last:
                def __del__(self, write=os.write):
                    for call in self.full.get, self.full.get, lambda: self.full.put(1), lambda: self.full.put(2):
                        try:
                            call()
                        except Exception as error:
                            write(1, (str(error) + "\\n").encode())
            Last.keep = [Last()]
            Last.full = bywash.Queue(1, bypass=0)
            Last.full.put(0)
        """
        end = "the interpreter ends, so no thread will "
        said = f"{end}put\n{end}read\n"
        status, out, errors = run(program)
        self.assertEqual((status, errors), (0, ""))
        # This thread has read, so the last put is refused for that.
        self.assertIn(out, [said, f"{end}put\nqueue and bypass are full, and this is the thread that reads\n"])


class References(unittest.TestCase):
    def test_counts_are_exact(self):
        item = object()
        count = sys.getrefcount(item)
        q = bywash.Queue(2, bypass=1)
        q.bind()
        for _ in range(3):
            q.put(item)
        self.assertEqual(sys.getrefcount(item), count + 3)
        for call in [q.put, q.put_nowait, lambda item: q.put(item, timeout=1)]:
            self.assertRaises(bywash.WouldDeadlock, call, item)
        self.assertEqual(sys.getrefcount(item), count + 3)
        self.assertIs(q.get(), item)
        self.assertEqual(sys.getrefcount(item), count + 2)
        q.close()
        self.assertRaises(bywash.Closed, q.put, item)
        del q
        self.assertEqual(sys.getrefcount(item), count)

        q = bywash.Queue(1)
        q.put(None)
        for call in [q.put_nowait, lambda item: q.put(item, timeout=0.01)]:
            self.assertRaises(queue.Full, call, item)
        self.assertRaises(ValueError, q.put, item, timeout=-1)
        self.assertEqual(sys.getrefcount(item), count)

    def test_what_is_left_is_dropped_with_the_queue_and_may_put_elsewhere(self):
        other = bywash.Queue(10)

        class Item:
            def __del__(self):
                other.put("dropped")

        q = bywash.Queue(3)
        for _ in range(3):
            q.put(Item())
        alive = weakref.ref(q)
        del q
        self.assertIsNone(alive())
        self.assertEqual([other.get() for _ in range(3)], ["dropped"] * 3)

    def test_a_circle_through_the_queue_is_collected(self):
        class Item:
            pass

        for size in [1, 3]:
            q = bywash.Queue(size)
            q.bind()
            alive = []
            for _ in range(size + 1):  # One in the bypass.
                item = Item()
                item.queue = q
                q.put(item)
                alive.append(weakref.ref(item))
            alive.append(weakref.ref(q))
            gc.collect()
            self.assertNotIn(None, [ref() for ref in alive])
            del q, item
            gc.collect()
            self.assertEqual({ref() for ref in alive}, {None})

    def test_finalisers_in_such_a_circle_may_put(self):
        log = []

        class Item:
            def __init__(self, q):
                self.q = q

            def __del__(self):
                log.append("finalised")
                self.q.put_nowait("from a finaliser")

        q = bywash.Queue(2)
        q.bind()
        for _ in range(2):
            q.put(Item(q))
        alive = weakref.ref(q)
        del q
        gc.collect()
        gc.collect()
        self.assertIsNone(alive())
        self.assertEqual(log, ["finalised"] * 2)

    def test_a_queue_that_a_thread_waits_for_is_no_garbage(self):
        got = []

        def read(q):
            got.append(q.get())

        q = bywash.Queue(2)
        reader = in_thread(read, q)
        weak = weakref.ref(q)
        del q
        for _ in range(20):
            gc.collect()
        weak().put("item")
        reader.join()
        self.assertEqual(got, ["item"])

    def test_weakref_callbacks_put_in_the_middle_of_a_put(self):
        q = bywash.Queue(1)
        q.bind()

        class Item:
            pass

        # The exception that refuses the put drops the last reference of the item.
        got = []
        for i in range(50):
            q.put(i)
            ref = weakref.ref(Item(), lambda _: None)
            item = Item()
            ref = weakref.ref(item, lambda _, i=i: q.put(("callback", i)))
            q.put(item)
            del item
            got += [q.get(), type(q.get()).__name__, q.get()]
        expected = []
        for i in range(50):
            expected += [i, "Item", ("callback", i)]
        self.assertEqual(got, expected)
        del ref

    def test_queues_within_queues(self):
        inner = bywash.Queue(1)
        for _ in range(1000):
            outer = bywash.Queue(1)
            outer.put(inner)
            inner = outer
        alive = weakref.ref(inner)
        del inner, outer
        self.assertIsNone(alive())


if __name__ == "__main__":
    unittest.main(warnings="ignore")  # That forks of a process with threads are to be avoided.
