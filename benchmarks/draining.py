"""Clients of a server that is told to end, and what becomes of their requests."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Coroutine
from typing import Any

from txinfer.site import DRAIN_GRACE

from .exchange import Exchange, Question

# Connections that always ask, such as ask now and then, and clients that take a
# new one for each request.
BUSY, IDLE, NEW = 12, 8, 16

# Connections that are made all at once just before the signal, so that some wait in
# the system's queue when it comes.
HERD = 100

# Seconds from an answer to the next question of those that ask now and then.
NOW_AND_THEN = 0.04

# The same of those with new connections, which would else use up the ports.
SOON = 0.005


class Asking(Exchange):
    """An exchange whose answer can be waited for."""

    def __init__(self) -> None:
        super().__init__(lambda _: self.settled.set())
        self.settled = asyncio.Event()

    async def answer_to(self, question: Question) -> None:
        """Ask, and wait until there is an answer or the connection has ended."""
        self.settled.clear()
        self.ask(question)
        await self.settled.wait()


class Clients:
    """They ask until nobody takes their requests any more.

    ``told`` is to be set to when the server is told to end; ``answered`` has the
    times of right answers, ``lost`` what became of other accepted requests. (See
    :mod:`.sigterm` for which are accepted.)

    Args:
        port: of 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.told: float | None = None
        self.answered: list[float] = []
        self.lost: list[str] = []
        self._port = port
        self._asked = 0
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self) -> None:
        """Begin to ask. To be called in a running loop."""
        clients: list[Coroutine[Any, Any, None]] = []
        clients += [self._keep(0.0) for _ in range(BUSY)]
        clients += [self._keep(NOW_AND_THEN) for _ in range(IDLE)]
        clients += [self._ask_anew() for _ in range(NEW)]
        self._tasks = [asyncio.ensure_future(client) for client in clients]

    def come_all_at_once(self) -> None:
        """Make many new connections and ask on each, before anybody can accept them."""
        for _ in range(HERD):
            sock = socket.create_connection(("127.0.0.1", self._port))
            sock.setblocking(False)
            question = self._question()
            sock.send(question.wire)
            answered = self._take_over(sock, question, time.monotonic())
            self._tasks.append(asyncio.ensure_future(answered))

    async def end(self, seconds: float) -> None:
        """Wait for all of them; who waits longer has lost a request."""
        ended, waiting = await asyncio.wait(self._tasks, timeout=seconds)
        for task in waiting:
            task.cancel()
            self.lost.append(f"no answer in {seconds:.0f} s")
        for task in ended:
            task.result()

    async def _keep(self, pause: float) -> None:
        """Ask on one connection, until the server closes it."""
        asking = await self._connect()
        while asking is not None and asking.is_open:
            question = self._question()
            await asking.answer_to(question)
            self._judge(asking, question)
            if asking.answer is None:
                late = self.told is not None and asking.began >= self.told + DRAIN_GRACE
                if not late:
                    self.lost.append(f"a kept connection: {asking.error!r}")
                return
            await asyncio.sleep(pause)

    async def _ask_anew(self) -> None:
        """Ask on one connection after the other, until there are none to be had."""
        while (asking := await self._connect()) is not None:
            question = self._question()
            await asking.answer_to(question)
            self._judge_new(asking, question)
            if asking.answer is None:
                return
            asking.close()
            await asyncio.sleep(SOON)

    async def _take_over(
        self, sock: socket.socket, question: Question, made: float
    ) -> None:
        """Wait for what was asked on a new connection."""
        loop = asyncio.get_running_loop()
        _, asking = await loop.create_connection(Asking, sock=sock)
        asking.made = made
        await asking.settled.wait()
        self._judge_new(asking, question)
        if asking.is_open:
            asking.close()

    def _judge_new(self, asking: Asking, question: Question) -> None:
        """Note what became of a question on a new connection."""
        self._judge(asking, question)
        was_made = self.told is None or asking.made < self.told
        if asking.answer is None and (was_made or asking.error is None):
            when = "before" if was_made else "after"
            self.lost.append(f"one made {when} the signal: {asking.error!r}")

    async def _connect(self) -> Asking | None:
        loop = asyncio.get_running_loop()
        try:
            _, asking = await loop.create_connection(Asking, "127.0.0.1", self._port)
        except OSError as error:
            if self.told is None:
                self.lost.append(f"no connection: {error!r}")
            return None
        return asking

    def _question(self) -> Question:
        self._asked += 1
        return Question(self._asked)

    def _judge(self, asking: Asking, question: Question) -> None:
        """Note whether an answer, if there is one, is right."""
        answer = asking.answer
        if answer is None:
            return
        if answer.status == 200 and question.is_right(answer.body):
            self.answered.append(time.monotonic())
        else:
            self.lost.append(f"{answer.status}: {answer.body[:60]!r}")
