"""A client process: it offers so many requests a second, or keeps so many asking.

    python -m benchmarks.load 8080 --rate 2000
    python -m benchmarks.load 8080 --connections 64

It prints what became of them, as JSON. With a rate requests are sent when it is
time, whether or not others are answered (an open loop): a server that is slow gets
no fewer of them. Without one each connection asks again once it is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import attrs

from .arguments import described
from .exchange import Exchange, Question
from .places import environment, module
from .tally import REFUSED, UNANSWERED, UNSENT, Report, Tally

# Between two looks at what is to be sent, in seconds.
STEP = 0.001

# What an open loop may have open: fewer than the server takes from one address.
MOST_CONNECTIONS = 1900

# As many different questions, so that an answer of another one is seen.
QUESTIONS = 100

# A client that is refused comes back after so many seconds, or it would do nothing
# else. (It is told a second at least.)
AFTER_REFUSAL = 0.1


class Client(ABC):
    """What both loops have in common.

    Args:
        chosen: the command line.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        headers = dict(text.split(": ", 1) for text in chosen.header)
        self.chosen = chosen
        deadlines = cycle(ms / 1e3 for ms in chosen.deadline or [])
        self.questions = [
            Question(number, chosen.rows, headers, next(deadlines, None))
            for number in range(QUESTIONS)
        ]
        self._sources = cycle(chosen.source or ["127.0.0.1"])
        self.begin()
        self.exchanges: set[Exchange] = set()
        self.asked = 0
        self.lag = 0.0

    def begin(self) -> None:
        """Now its time begins."""
        self.began = time.monotonic()
        self.end = self.began + self.chosen.seconds
        self.tally = Tally(self.began + self.chosen.warm_up, self.end)

    def question(self) -> Question:
        """The next one."""
        self.asked += 1
        return self.questions[self.asked % QUESTIONS]

    async def connect(self) -> Exchange | None:
        """Another connection; None, and that is noted, if there is none to be had."""
        began = time.monotonic()
        try:
            _, exchange = await asyncio.get_running_loop().create_connection(
                lambda: Exchange(self.settle, self.chosen.drip / 1e3),
                "127.0.0.1",
                self.chosen.port,
                local_addr=(next(self._sources), 0),
            )
        except OSError:
            self.tally.add(REFUSED, began, time.monotonic())
            return None
        self.exchanges.add(exchange)
        return exchange

    def settle(self, exchange: Exchange) -> None:
        """Note what has become of a question, and go on."""
        if not exchange.is_open:
            self.exchanges.discard(exchange)
        if exchange.question is not None:
            self.go_on(exchange, self.tally.settle(exchange))

    @abstractmethod
    async def run(self) -> None:
        """Ask as long as it is time, and wait for the last answers."""

    @abstractmethod
    def go_on(self, exchange: Exchange, outcome: str) -> None:
        """A connection has nothing to do."""

    async def wait(self) -> None:
        """Until all is answered, or nobody's patience is that long."""
        patience = self.end + self.chosen.patience
        while any(it.question for it in self.exchanges):
            if time.monotonic() > patience:
                break
            await asyncio.sleep(0.01)
        for exchange in self.exchanges:
            if exchange.question is not None:
                self.tally.add(UNANSWERED, exchange.began, time.monotonic())


class OpenLoop(Client):
    """Sends at a rate, whatever comes back."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        super().__init__(chosen)
        self._idle: list[Exchange] = []
        self._connecting: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Offer what is to be offered, and wait for what is under way."""
        for _ in range(self.chosen.connections):
            exchange = await self.connect()
            if exchange is not None:
                self._idle.append(exchange)
        self.begin()
        while (now := time.monotonic()) < self.end:
            due = int((now - self.began) * self.chosen.rate) - self.asked
            if due > 0:
                self.lag = max(self.lag, due / self.chosen.rate)
            for _ in range(due):
                self._send(self.question())
            await asyncio.sleep(STEP)
        if self._connecting:
            await asyncio.wait(self._connecting)
        await self.wait()

    def go_on(self, exchange: Exchange, outcome: str) -> None:
        """Keep the connection for another time."""
        if exchange.is_open:
            self._idle.append(exchange)

    def _send(self, question: Question) -> None:
        while self._idle:
            exchange = self._idle.pop()
            if exchange.is_open:
                exchange.ask(question)
                return
        if len(self.exchanges) + len(self._connecting) >= MOST_CONNECTIONS:
            now = time.monotonic()
            self.tally.add(UNSENT, now, now)
            return
        task = asyncio.ensure_future(self._send_anew(question))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _send_anew(self, question: Question) -> None:
        exchange = await self.connect()
        if exchange is not None:
            exchange.ask(question)


class ClosedLoop(Client):
    """Asks again on each connection once that is answered."""

    async def run(self) -> None:
        """Keep asking, and wait for the last answers."""
        for _ in range(self.chosen.connections):
            await self._begin()
        await asyncio.sleep(max(self.end - time.monotonic(), 0))
        await self.wait()

    def go_on(self, exchange: Exchange, outcome: str) -> None:
        """Ask the next thing, or that again a little later."""
        loop = asyncio.get_running_loop()
        pause = self.chosen.think / 1e3
        if outcome != "200":
            pause = max(pause, AFTER_REFUSAL)
        if not exchange.is_open:
            loop.call_later(pause, lambda: asyncio.ensure_future(self._begin()))
        elif pause:
            loop.call_later(pause, self._ask, exchange)
        else:
            self._ask(exchange)

    async def _begin(self) -> None:
        exchange = await self.connect()
        if exchange is not None:
            self._ask(exchange)

    def _ask(self, exchange: Exchange) -> None:
        if time.monotonic() < self.end and exchange.is_open:
            exchange.ask(self.question())


def start(port: int, *arguments: str) -> subprocess.Popen[str]:
    """Start a client process; :func:`finish` has its report."""
    command = module("benchmarks.load", str(port), *arguments)
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> Report:
    """Wait for a client process; what it has seen."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit("the client has failed")
    return Report.read(json.loads(said))


async def run(chosen: argparse.Namespace) -> Report:
    """Be a client; what it has seen."""
    client = (OpenLoop if chosen.rate else ClosedLoop)(chosen)
    before = time.process_time()
    await client.run()
    cpu = time.process_time() - before
    return client.tally.report(cpu / chosen.seconds, client.lag)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = described(__doc__)
    add: Any = parser.add_argument
    add("port", type=int)
    add("--rate", type=float, default=0, help="requests a second")
    add("-c", "--connections", type=int, default=64, help="at the beginning")
    add("-s", "--seconds", type=float, default=5)
    add("--warm_up", type=float, default=1, help="seconds not in the rate")
    add("--patience", type=float, default=10, help="seconds for the last answers")
    add("--think", type=float, default=0, help="ms from an answer to what is next")
    add("--rows", type=int, default=1, help="of a request")
    add("--source", action="append", help="an address to come from")
    add("--deadline", type=float, action="append", help="ms, in turn if repeated")
    add("--drip", type=float, default=0, help="ms until the last byte follows")
    add("-H", "--header", action="append", default=[], help="NAME: VALUE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    json.dump(attrs.asdict(asyncio.run(run(parse()))), sys.stdout)
