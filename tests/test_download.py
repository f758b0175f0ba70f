"""Downloads, over a web server in memory."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.web.client import RedirectAgent
from twisted.web.iweb import IAgent, IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from tests.deferreds import reason, result
from txinfer.download import STALL, download
from txinfer.transfer import Failed, TooMuch, Transfer

CONTENT = b"some bytes" * 1000


class Served(Resource):
    """``/file``, and paths on which things go wrong."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def render_GET(self, request: IRequest) -> bytes | int:
        self.asked.append(request)
        path = request.uri.rpartition(b"/")[2]
        if path == b"moved":
            request.redirect(b"http://other.example/file")
            return b""
        if path == b"file":
            request.setHeader(b"Content-Length", b"%d" % len(CONTENT))
            return CONTENT
        if path == b"unsized":
            request.write(CONTENT[:100])
            request.write(CONTENT[100:])
            request.finish()
            return NOT_DONE_YET
        if path == b"slow":
            request.setHeader(b"Content-Length", b"%d" % len(CONTENT))
            request.write(CONTENT[:100])
            return NOT_DONE_YET
        request.setResponseCode(404)
        return b"no"


class Bench:
    def __init__(self, most: int = 10**6) -> None:
        self.clock = Clock()
        self.served = Served()
        self.traversal = RequestTraversalAgent(self.served)
        self.agent: IAgent = RedirectAgent(self.traversal)
        self.transfer = Transfer(most)
        self.file = io.BytesIO()

    def get(self, name: str) -> Deferred[str]:
        url = f"http://a.example/{name}"
        got = Deferred.fromCoroutine(
            download(self.agent, self.clock, url, self.file, self.transfer)
        )
        self.traversal.flush()
        return got


@pytest.mark.parametrize("name", ["file", "unsized", "moved"])
def test_a_file_is_written_and_its_checksum_told(name: str) -> None:
    bench = Bench()
    assert result(bench.get(name)) == hashlib.sha256(CONTENT).hexdigest()
    assert bench.file.getvalue() == CONTENT
    assert bench.transfer.done == len(CONTENT)
    assert not bench.clock.getDelayedCalls()


def test_it_is_told_how_much_there_is_and_how_much_has_come() -> None:
    bench = Bench()
    bench.get("slow")
    assert (bench.transfer.done, bench.transfer.total) == (100, len(CONTENT))


def test_no_other_coding_is_asked_for() -> None:
    bench = Bench()
    result(bench.get("file"))
    (request,) = bench.served.asked
    assert request.getHeader(b"Accept-Encoding") == b"identity"


def test_another_status_than_200_is_a_failure() -> None:
    assert str(reason(Bench().get("nothing"))) == "the server answered 404"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file", "it has 10000 bytes, more than 9999"),
        ("unsized", "it has more than 9999 bytes"),
    ],
)
def test_more_than_is_taken_is_refused(name: str, said: str) -> None:
    bench = Bench(most=9999)
    error = reason(bench.get(name))
    assert isinstance(error, TooMuch)
    assert str(error) == said
    assert len(bench.file.getvalue()) <= 9999


def test_just_what_is_taken_is_taken() -> None:
    assert result(Bench(most=10000).get("file"))


def test_a_server_that_falls_silent_is_given_up() -> None:
    bench = Bench()
    got = bench.get("slow")
    bench.clock.advance(STALL - 1)
    bench.served.asked[0].write(CONTENT[100:200])
    bench.traversal.flush()
    bench.clock.advance(STALL - 1)
    assert not got.called
    bench.clock.advance(1)
    bench.traversal.flush()
    error = reason(got)
    assert isinstance(error, Failed)
    assert str(error) == "nothing came for 60 s"


def test_half_a_file_is_a_failure() -> None:
    bench = Bench()
    got = bench.get("slow")
    bench.served.asked[0].transport.loseConnection()
    bench.traversal.flush()
    assert isinstance(reason(got), Failed)
    assert not bench.clock.getDelayedCalls()


def test_it_can_be_cancelled() -> None:
    bench = Bench()
    got = bench.get("slow")
    got.cancel()
    assert isinstance(reason(got), CancelledError)
    bench.traversal.flush()
    assert not bench.clock.getDelayedCalls()


def test_a_disk_that_is_full_is_told() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    bench = Bench()
    bench.file = Full()
    got = bench.get("unsized")
    bench.traversal.flush()
    assert "No space left" in str(reason(got))


def test_nobody_there_is_told_in_a_few_words() -> None:
    @implementer(IAgent)
    class Nobody:
        def request(self, *_: object, **__: object) -> Deferred[Any]:
            return fail(ConnectionRefusedError())

    bench = Bench()
    bench.agent = Nobody()
    assert str(reason(bench.get("file"))) == "Connection was refused by other side."
