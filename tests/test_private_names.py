"""Names that Twisted keeps to itself and this package uses all the same.

A release of Twisted may drop them without notice; then this says so first.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet._producer_helpers import _PullToPush
from twisted.web.http import Request

from txinfer.answers import write_now


class Writers:
    """A reactor that counts what it is asked to write."""

    count = 0

    def addWriter(self, _: object) -> None:
        self.count += 1


def connection(wire: socket.socket, writers: Writers) -> Any:
    transport = tcp.Connection(wire, None, writers)  # type: ignore[arg-type]
    transport.connected = 1
    return transport


@pytest.mark.parametrize("name", ["_log", "_disconnected"])
def test_the_request_has(name: str) -> None:
    assert hasattr(Request, name)


@pytest.mark.parametrize("name", ["startStreaming", "stopStreaming"])
def test_what_pulls_for_a_stream_can(name: str) -> None:
    assert hasattr(_PullToPush, name)


def test_what_is_written_with_nothing_before_it_is_sent_at_once() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        writers = Writers()
        transport = connection(near, writers)
        write_now(transport, b"first")
        assert far.recv(10) == b"first"
        assert writers.count == 0
        # The kernel takes no more; the rest waits, and what follows behind it.
        write_now(transport, bytes(10_000_000))
        assert writers.count > 0
        write_now(transport, b"last")
        waiting = b"".join([transport.dataBuffer, *transport._tempDataBuffer])
        assert waiting.endswith(b"\0last")
        sent = 10_000_004 - len(waiting)
        assert 0 < sent < 10_000_000


def test_what_is_written_to_a_closed_end_waits_for_the_reactor_to_notice() -> None:
    near, far = socket.socketpair()
    far.close()
    with near:
        transport = connection(near, Writers())
        write_now(transport, b"nobody")
        assert transport._tempDataBuffer == [b"nobody"]
