from __future__ import annotations

import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.gates import PATIENCE
from tests.pool import SteppedThreads
from txinfer.interfaces import IThreads
from txinfer.threads import ModelThreads


class ModelThreadsTests(TestCase):
    def make(self, size: int = 1) -> ModelThreads:
        threads = ModelThreads(reactor, size)
        threads.start()
        self.addCleanup(threads.stop)
        return threads

    def call(
        self, threads: ModelThreads, *work: Any
    ) -> Deferred[tuple[Any, float, bool]]:
        """What came of a call: the result, the seconds, whether it came here."""
        came: Deferred[tuple[Any, float, bool]] = Deferred()
        here = threading.get_ident()

        def done(result: Any, seconds: float) -> None:
            # A Failure would send the Deferred down its other side.
            came.callback(([result], seconds, threading.get_ident() == here))

        threads.call(done, *work)
        return came

    def test_the_interface_is_kept(self) -> None:
        verifyObject(IThreads, ModelThreads(reactor))
        verifyObject(IThreads, SteppedThreads())

    async def test_work_is_done_in_a_thread_and_comes_back_here(self) -> None:
        threads = self.make()
        ([ident], seconds, here) = await self.call(threads, threading.get_ident)
        self.assertNotEqual(ident, threading.get_ident())
        self.assertGreaterEqual(seconds, 0)
        self.assertTrue(here)
        self.assertEqual(await threads.run(divmod, 7, 2), (3, 1))

    async def test_whatever_is_raised_comes_back(self) -> None:
        threads = self.make()
        for raised in (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit):

            def fail(raised: type[BaseException] = raised) -> None:
                raise raised

            ([failure], _, _) = await self.call(threads, fail)
            assert isinstance(failure, Failure)
            self.assertIs(failure.type, raised)
            await self.assertFailure(threads.run(fail), raised)
        self.assertEqual(await threads.run(int), 0)

    async def test_no_more_threads_than_the_size_and_no_more_than_needed(self) -> None:
        threads = self.make(2)
        alone = {await threads.run(threading.get_ident) for _ in range(99)}
        self.assertEqual(len(alone), 1)
        together = threading.Barrier(2)

        def meet() -> int:
            together.wait(PATIENCE)
            return threading.get_ident()

        idents = await gatherResults([threads.run(meet) for _ in range(8)])
        self.assertEqual(len(set(idents)), 2)

    async def test_threads_can_be_started_again(self) -> None:
        threads = self.make()
        await threads.run(int)
        threads.stop()
        threads.stop()
        threads.start()
        self.assertEqual(await threads.run(int), 0)

    async def test_a_stop_ends_the_threads(self) -> None:
        threads = self.make()
        thread = await threads.run(threading.current_thread)
        threads.stop()
        self.assertFalse(thread.is_alive())

    async def test_a_stop_does_not_wait_for_what_still_runs(self) -> None:
        threads = self.make()
        entered, gate = threading.Event(), threading.Event()

        def wait() -> threading.Thread:
            entered.set()
            gate.wait(PATIENCE)
            return threading.current_thread()

        late = threads.run(wait)
        entered.wait(PATIENCE)
        threads.stop()
        threads.start()
        self.assertEqual(await threads.run(int), 0)
        gate.set()
        thread = await late
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())
        self.assertTrue(thread.daemon)

    async def test_another_thread_takes_the_place_of_one_that_hangs(self) -> None:
        threads = self.make()
        gate = threading.Event()
        hangs = threads.run(gate.wait, PATIENCE)
        threads.grow()
        spare = await threads.run(threading.current_thread)
        self.assertTrue(spare.is_alive())
        threads.shrink()
        gate.set()
        self.assertTrue(await hangs)
        # One of the two ends, and the other goes on.
        self.assertEqual(await threads.run(int), 0)
        self.assertEqual(threads.size, 1)

    async def test_growing_without_work_makes_no_thread(self) -> None:
        threads = self.make()
        first = await threads.run(threading.current_thread)
        threads.grow()
        threads.shrink()
        self.assertIs(await threads.run(threading.current_thread), first)

    async def test_threads_that_are_not_to_last_end_with_their_work(self) -> None:
        threads = ModelThreads(reactor, 1, lasting=False)
        threads.start()
        self.addCleanup(threads.stop)
        first = await threads.run(threading.current_thread)
        first.join(PATIENCE)
        self.assertFalse(first.is_alive())
        gate = threading.Event()

        def wait() -> threading.Thread:
            gate.wait(PATIENCE)
            return threading.current_thread()

        calls = [threads.run(wait) for _ in range(3)]
        gate.set()
        later = set(await gatherResults(calls))
        self.assertEqual(len(later), 1, "while there is more to do it goes on")
        self.assertNotIn(first, later)

    async def test_the_thread_that_was_idle_last_is_next(self) -> None:
        threads = self.make(3)
        together = threading.Barrier(3)

        def meet() -> int:
            together.wait(PATIENCE)
            return threading.get_ident()

        await gatherResults([threads.run(meet) for _ in range(3)])
        later = {await threads.run(threading.get_ident) for _ in range(20)}
        self.assertEqual(len(later), 1)
