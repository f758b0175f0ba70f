"""What the system is asked for."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import attrs
import pytest
from twisted.internet.interfaces import IListeningPort
from zope.interface import implementer

from txinfer.sockets import (
    OTHER_FILES,
    UNSENT,
    pause,
    prepare,
    raise_file_limit,
    resume,
    shortage,
)


@implementer(IListeningPort)
@attrs.define(eq=False)
class Port:
    """As Twisted's, as far as it matters here."""

    socket: Any

    def startListening(self) -> None:
        """It does already."""

    def stopListening(self) -> None:
        """It does not."""

    def getHost(self) -> Any:
        """Nowhere."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener


def test_more_connections_wait_than_twisted_asks_for(listener: socket.socket) -> None:
    prepare(Port(listener))
    clients = []
    try:
        for _ in range(200):
            client = socket.create_connection(listener.getsockname(), timeout=10)
            clients.append(client)
    finally:
        for client in clients:
            client.close()


@pytest.mark.skipif(
    not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system has no such option"
)
def test_the_kernel_takes_little_for_a_client_that_does_not_read(
    listener: socket.socket,
) -> None:
    prepare(Port(listener))
    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server, _ = listener.accept()
        with server:
            server.setblocking(False)
            taken = 0
            with suppress(BlockingIOError):
                while taken < 100 * UNSENT:
                    taken += server.send(bytes(65536))
    # What the client's side has taken is on top of it.
    assert UNSENT <= taken < 8 * UNSENT


def test_what_has_no_socket_or_no_such_option_is_left_alone() -> None:
    prepare(Port(None))
    with socket.socket(socket.AF_UNIX) as other:
        prepare(Port(other))
    pause(Port(None))
    resume(Port(None))


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_as_many_files_as_may_be_can_be_opened(limits: tuple[int, int]) -> None:
    _, hard = limits
    most = None if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    assert raise_file_limit() == most
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert raise_file_limit() == most


def test_connections_that_do_not_fit_are_told_of() -> None:
    assert shortage(1000, None) is None
    assert shortage(1000, 1000 + OTHER_FILES) is None
    short = shortage(1000, 999 + OTHER_FILES)
    assert short is not None
    assert short.startswith("1000 connections need some 1256 open files")
    assert "allows 1255" in short
