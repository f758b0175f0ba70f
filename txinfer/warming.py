"""A version called before anybody else may, so that nobody else is its first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from . import layout
from .cost import FEW, is_clear
from .interfaces import IModel, IThreads
from .methods import Method
from .models import Servable, State
from .observe import IObserver
from .sources import Found
from .tensors import Tensors
from .warmup import TrialCall, WarmUpFailed, plan

# Each call is made so often: what a kernel learns in its first run the second uses.
TIMES = 2

# What several rows at once take is found out if so many alone take no more seconds, and
# then in as many rounds as take no more than that.
WORTH = 0.5
ROUNDS = 6

# So often it is found out again if it is not clear.
AGAIN = 2

# If they take less than so many seconds, large runs take little memory.
SHORT = 0.005


class Warming:
    """Warms up one version.

    ``text`` says how far it is, for whoever waits for it.

    Args:
        servable: the version, which is being loaded.
        found: where it is from.
        sizes: the rows that runs will have, if they are filled up.
        threads: where to run it; not where those of others run.
        clock: for the time that it takes.
        observer: is told of it.
        max_rows: the most rows that there may be in a run.
    """

    log = Logger()

    def __init__(
        self,
        servable: Servable,
        found: Found,
        sizes: Sequence[int],
        threads: IThreads,
        clock: IReactorTime,
        observer: IObserver,
        max_rows: int,
    ) -> None:
        self.text = ""
        self._max_rows = max_rows
        self._servable = servable
        self._found = found
        self._sizes = sizes
        self._threads = threads
        self._clock = clock
        self._observer = observer

    async def run(self, model: IModel, methods: Mapping[str, Method]) -> None:
        """Call all methods, with what came with the model or can be made up.

        Args:
            model: the model.
            methods: its methods.

        Raises:
            InvalidModel: a call that came with the model was not answered.
        """
        began = self._clock.seconds()
        failed = True
        try:
            calls = await self._threads.run(
                plan, self._found.folder(), model, methods.values(), self._sizes
            )
            for number, call in enumerate(calls):
                self.text = f", warming up {call.text} ({number + 1} of {len(calls)})"
                if self._servable.state is not State.LOADING:
                    return  # retired meanwhile
                await self._try(call, methods[call.method])
            failed = False
        except WarmUpFailed as error:
            why = f"its warm-up failed: {error}"
            raise layout.invalid(self._found.place, why) from error
        finally:
            self.text = ""
            seconds = self._clock.seconds() - began
            self._observer.warmed(self._servable.labels, seconds, failed)

    async def _try(self, call: TrialCall, method: Method) -> None:
        """Run a call where no slot of the session is taken by it."""
        try:
            (one,) = await self._run(method, [call.tensors])
            if not call.given and not self._sizes and method.direct is None:
                await self._learn(method, call.tensors, one)
        except Exception as error:
            cause = error.__cause__ or error
            why = f"{call.text}: {' '.join(str(cause).split()):.300}"
            if call.given:
                raise WarmUpFailed(why) from error
            self.log.warn("The warm-up is not complete: {why}", why=why)

    async def _learn(self, method: Method, row: Tensors, one: float) -> None:
        """Find out what several rows at once take, if that is soon done.

        Args:
            method: the method.
            row: one row for it.
            one: the seconds that it takes alone.
        """
        if FEW[-1] > self._max_rows or FEW[-1] * one > WORTH:
            return
        calls = [
            {name: np.repeat(array, rows, axis=0) for name, array in row.items()}
            for rows in FEW
        ]
        seconds = await self._run(method, calls)
        if seconds[-1] < SHORT:
            return
        rounds = min(ROUNDS, int(WORTH / sum(seconds)))
        if rounds:
            seconds = await self._run(method, calls, rounds)
        for _ in range(AGAIN if rounds else 0):
            if is_clear(seconds):
                break
            again = await self._run(method, calls, rounds)
            seconds = [min(pair) for pair in zip(seconds, again, strict=True)]
        method.cost.expect(seconds)

    async def _run(
        self, method: Method, calls: Sequence[Tensors], rounds: int = TIMES
    ) -> list[float]:
        """Run calls in turn, in one thread: what kernels learn they keep for a thread.

        Returns:
            For each the seconds that the quickest run took. Another process may hold up
            a run; in turns that is as likely for each.
        """
        seconds = self._clock.seconds
        return await self._threads.run(_quickest, seconds, method, calls, rounds)


def _quickest(
    seconds: Callable[[], float],
    method: Method,
    calls: Sequence[Tensors],
    rounds: int,
) -> list[float]:
    """The seconds of the quickest run of each call; blocks."""
    times = [[_timed(seconds, method, it) for it in calls] for _ in range(rounds)]
    return [min(each) for each in zip(*times, strict=True)]


def _timed(seconds: Callable[[], float], method: Method, tensors: Tensors) -> float:
    """The seconds that a run takes; blocks."""
    began = seconds()
    method.run(tensors)
    return seconds() - began
