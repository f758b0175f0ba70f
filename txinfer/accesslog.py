"""The access log: a line for each request, written a batch at a time, in a thread.

A disk that is slow, or a pipe that nobody reads, holds up no request: what cannot
be kept until it is written is dropped, and the log says how much that was.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from contextlib import suppress
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .accesslines import FORMS, Line, Record, recorded
from .threads import ModelThreads

# Seconds that a line may wait for company, and how many are written at once: the
# reactor is held up by making them for half a millisecond.
LONGEST_WAIT = 0.5
BATCH = 128

# Lines that wait for a slow disk; a few dozen megabytes at most.
MOST_WAITING = 50_000

# Seconds that the end of the server waits for what is still to be written.
PATIENCE = 5.0


@attrs.define(eq=False)
class LogFile:
    """A file that lines are added to, opened again when somebody has moved it away.

    Its methods block; they are for one thread at a time. ``-`` is standard output.
    """

    path: str
    _descriptor: int | None = attrs.field(default=None, init=False)

    def write(self, data: bytes) -> None:
        """Add lines; OSError if they cannot be written."""
        if self.path == "-":
            _write_all(sys.__stdout__.fileno() if sys.__stdout__ else 1, data)
            return
        if self._descriptor is None or not self._is_there():
            self.close()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o640)
        _write_all(self._descriptor, data)

    def close(self) -> None:
        """Let go of the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _is_there(self) -> bool:
        assert self._descriptor is not None
        with suppress(OSError):
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        return False


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class AccessLog:
    """Takes note of requests of our own site. Reactor thread only.

    Args:
        file: where lines are added.
        line: makes a line of a record.
        threads: where to write; started and stopped with the log.
        clock: the reactor.
        most: lines that wait for the thread; further ones are dropped.
    """

    log = Logger()

    def __init__(
        self,
        file: LogFile,
        line: Line,
        threads: ModelThreads,
        clock: IReactorTime,
        most: int = MOST_WAITING,
    ) -> None:
        self._most = most
        self._file = file
        self._line = line
        self._threads = threads
        self._clock = clock
        self._records: deque[Record] = deque()
        self._dropped = 0
        self._timer: IDelayedCall | None = None
        self._is_writing = False
        self._is_failing = False
        self._closing: Deferred[None] | None = None

    # In

    def answered(self, request: Any, channel: Any) -> None:
        """A request was answered, or its client hung up before."""
        now = self._clock.seconds()
        self._add(recorded(request, channel.peer, now))

    def refused(self, status: int, channel: Any) -> None:
        """A request was refused or given up before it was whole, or a connection."""
        now, request = self._clock.seconds(), channel.reader.request
        if request is None:
            self._add(Record(now, channel.peer, status, request=channel.refused_as))
        else:
            request.code = status
            self._add(recorded(request, channel.peer, now))

    def _add(self, record: Record) -> None:
        if len(self._records) >= self._most:
            self._dropped += 1
            return
        self._records.append(record)
        if self._is_writing:
            return
        if len(self._records) >= BATCH:
            self._write()
        elif self._timer is None:
            self._timer = self._clock.callLater(LONGEST_WAIT, self._write)

    # Out

    def start(self) -> None:
        """Begin to write what is added."""
        self._closing = None
        self._threads.start()

    def close(self) -> Deferred[None]:
        """Write what is left, for at most ``PATIENCE`` seconds.

        Returns:
            A Deferred that fires with None when that is done, or given up.
        """
        self._closing = Deferred()
        self._closing.addTimeout(PATIENCE, self._clock)
        self._closing.addCallbacks(self._stop, self._give_up)
        closing = self._closing
        if not self._is_writing:
            self._write()
        return closing

    def _write(self) -> None:
        """Write a batch, if there is anything."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        batch = [self._records.popleft() for _ in range(min(BATCH, len(self._records)))]
        if not batch:
            self._go_on(None)
            return
        self._is_writing = True
        data = b"".join(map(self._line, batch))
        writing = self._threads.run(self._file.write, data)
        writing.addCallbacks(self._written, self._failed).addCallback(self._go_on)

    def _written(self, _: None) -> None:
        self._is_failing = False

    def _failed(self, failure: Failure) -> None:
        if not self._is_failing:
            # Once, and not again with each batch until it is well.
            self._is_failing = True
            why = failure.getErrorMessage()
            self.log.error("The access log cannot be written: {why}", why=why)

    def _go_on(self, _: None) -> None:
        self._is_writing = False
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self.log.warn("The access log is slow: {count} lines dropped", count=count)
        is_closing = self._closing is not None and not self._closing.called
        if len(self._records) >= BATCH or (self._records and is_closing):
            self._write()
        elif self._records:
            self._timer = self._clock.callLater(LONGEST_WAIT, self._write)
        elif is_closing and self._closing is not None:
            self._closing.callback(None)

    def _stop(self, _: None) -> None:
        self._file.close()
        self._threads.stop()

    def _give_up(self, failure: Failure) -> None:
        failure.trap(TooLate)
        self.log.warn("The access log is slow: its last lines are lost")
        # The thread is left to whatever holds it up.
        self._threads.stop()


def access_log(path: str, form: str, reactor: Any) -> AccessLog:
    """A log in a file, in one of ``FORMS``, with a thread of its own."""
    return AccessLog(LogFile(path), FORMS[form], ModelThreads(reactor), reactor)
