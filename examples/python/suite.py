"""The tests of the module queue that come with Python, run on bywash.Queue as far as they apply.

They are imported from test.test_queue. LEFT_OUT has the others, each with its reason.
"""

import concurrent.futures
import faulthandler
import types
import unittest

try:
    from test import test_queue
except ImportError:
    print("left out: this Python comes without its tests (on Debian: libpython3-testsuite)")
    raise SystemExit

import bywash

SEVERAL_READERS = "several threads wait in get at a time, which is refused: see tests.Refusals"
LEFT_OUT = {
    "BaseQueueTestMixin.test_queue_task_done": "there is no task_done, and that is said in words",
    "BaseQueueTestMixin.test_queue_join": "there is no join, and that is said in words",
    "BaseQueueTestMixin.test_shrinking_queue": "maxsize cannot be set: the memory is allocated once",
    "FailingQueueTest.test_failing_queue": "it overrides _put and _get; bywash.Queue cannot be subclassed",
    "LifoQueueTest": "of another class",
    "PriorityQueueTest": "of another class",
    "BaseSimpleQueueTest.test_many_threads": SEVERAL_READERS,
    "BaseSimpleQueueTest.test_many_threads_timeout": SEVERAL_READERS,
    "CSimpleQueueTest.test_is_default": "about which of two implementations the module queue has",
}
SHUTDOWN = "from Python 3.13 on there is shutdown, which is called close here"


def reason_to_leave_out(case, test):
    """Why this test of that class does not apply, or None."""
    return LEFT_OUT.get(f"{case}.{test}") or (SHUTDOWN if "shutdown" in test else None)


# More than any of the tests puts without a get.
LARGE = 20_000


class Queue:
    """A bywash.Queue whose gets are all done by one thread, so that in the others a put waits for
    room, whether they have called get before or not."""

    def __init__(self, maxsize):
        self.queue = bywash.Queue(maxsize)
        self.reader = concurrent.futures.ThreadPoolExecutor(1)

    def get(self, *args, **kwargs):
        return self.reader.submit(self.queue.get, *args, **kwargs).result()

    def __getattr__(self, name):
        return getattr(self.queue, name)


def module(Queue):
    """What the tests take for the module queue."""
    return types.SimpleNamespace(
        Queue=Queue, SimpleQueue=lambda: bywash.Queue(LARGE), Full=bywash.Full, Empty=bywash.Empty
    )



class WithOneReader(test_queue.QueueTest, unittest.TestCase):
    queue = module(Queue)


class Direct(test_queue.QueueTest, unittest.TestCase):
    queue = module(bywash.Queue)
    # Its thread gets and then puts: it is the reader, which does not wait but takes the bypass.
    # `WithOneReader` has it.
    test_basic = None


class AsSimpleQueue(test_queue.CSimpleQueueTest):
    queue = module(bywash.Queue)

    def setUp(self):
        self.q = self.queue.SimpleQueue()


def load_tests(loader, *_):
    suite = unittest.TestSuite()
    for case in (WithOneReader, Direct, AsSimpleQueue):
        for test in loader.getTestCaseNames(case):
            origins = [base.__name__ for base in case.__mro__ if test in vars(base)]
            if not reason_to_leave_out(origins[0], test):
                suite.addTest(case(test))
    return suite


if __name__ == "__main__":
    faulthandler.dump_traceback_later(300, exit=True)
    for name, reason in LEFT_OUT.items():
        print(f"left out: {name}: {reason}")
    unittest.main(verbosity=2)
