"""One connection of a client that is to cost little, and what is asked over it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
CLOSE = re.compile(rb"\r\nconnection: *close", re.I)
RETRY = re.compile(rb"\r\nretry-after: *\d+", re.I)


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether nothing else is answered on the connection."""
        return CLOSE.search(self.head) is not None

    @property
    def says_when(self) -> bool:
        """Whether it tells when to come back."""
        return RETRY.search(self.head) is not None


def answer_in(data: bytes) -> Answer | None:
    """The answer that some bytes are; None if they are not all of it.

    Raises:
        ValueError: its length is not told, or more comes behind it.
    """
    end = data.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    head = data[:end]
    length = LENGTH.search(head)
    if length is None:
        raise ValueError(f"an answer without a length: {head!r}")
    missing = end + int(length[1]) - len(data)
    if missing < 0:
        raise ValueError(f"more than an answer: {data!r}")
    return None if missing else Answer(int(data[9:12]), head, data[end:])


class Question:
    """Rows for a model that gives 2x + 1.

    Args:
        first: the value of the first row; the others follow.
        rows: how many.
        headers: that go with it.
        deadline: seconds after which nobody wants the answer; None for ever.
    """

    def __init__(
        self,
        first: int,
        rows: int = 1,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> None:
        values = range(first, first + rows)
        body = json.dumps({"x": list(values)}, separators=(",", ":"))
        lines = ["POST / HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if deadline is not None:
            lines.append(f"X-Request-Timeout-Ms: {deadline * 1e3:.0f}")
        lines += [f"Content-Length: {len(body)}", "", body]
        self.deadline = deadline
        self.wire = "\r\n".join(lines).encode()
        self._expected = [2.0 * value + 1 for value in values]
        self._right = b""

    def is_right(self, body: bytes) -> bool:
        """Whether an answer is this question's; parsed only if it is a new one."""
        if body != self._right:
            if json.loads(body) != {"y": self._expected}:
                return False
            self._right = body
        return True


class Exchange(asyncio.Protocol):
    """Asks one thing at a time.

    Args:
        done: called with the exchange when its question is settled: ``answer`` is
            the answer or, if the connection has ended without one, None. Called,
            too, when an idle connection ends.
        drip: seconds after which the last byte of a question follows the others.

    ``began`` is when the question was sent, ``made`` when the connection was, on
    ``time.monotonic``; ``error`` what ended the connection, None if it was closed.
    """

    def __init__(self, done: Callable[[Exchange], object], drip: float = 0.0) -> None:
        self._done = done
        self._drip = drip
        self._transport: Any = None
        self._data = b""
        self.question: Question | None = None
        self.answer: Answer | None = None
        self.error: Exception | None = None
        self.is_open = False
        self.began = 0.0
        self.made = 0.0

    def ask(self, question: Question) -> None:
        """Send a question."""
        self.question, self.answer = question, None
        self.began = time.monotonic()
        if not self._drip:
            self._transport.write(question.wire)
            return
        self._transport.write(question.wire[:-1])
        loop = asyncio.get_running_loop()
        loop.call_later(self._drip, self._end, question, self.began)

    def _end(self, question: Question, began: float) -> None:
        """Send the last byte, if nothing else has happened meanwhile."""
        if self.is_open and self.question is question and self.began == began:
            self._transport.write(question.wire[-1:])

    def close(self) -> None:
        """End the connection; ``done`` is not called for it if it is idle."""
        self.is_open = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = transport
        self.is_open = True
        self.made = time.monotonic()

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._data += data
        answer = answer_in(self._data)
        if answer is None:
            return
        self._data = b""
        self.answer = answer
        if answer.closes:
            self.close()
        self._done(self)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        self.error = error
        was_open, self.is_open = self.is_open, False
        if was_open:
            self._done(self)
