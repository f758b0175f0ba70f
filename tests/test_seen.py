from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from tests.hostile.cases import CASES
from tests.web_client import Connection, request
from txinfer import seen
from txinfer.reading import Refusal
from txinfer.request import BoundedRequest, Head
from txinfer.seen import SeenHeads
from txinfer.site import BoundedSite

BODY_LIMIT = 2000

# What differs from answer to answer.
OWN = re.compile(rb"(?<=X-Request-Id: )[0-9a-f]+-[0-9a-f]+|(?<=Date: )[^\r]+")

WHOLE = [
    request("GET", "/"),
    request("HEAD", "/"),
    request("POST", "/a", b"one"),
    request("POST", "/a", b"two"),
    request("POST", "/a", b"longer"),
    request("POST", "/a", b"x" * (BODY_LIMIT + 1)),
    request("POST", "/a", b""),
    request("POST", "/a", b"two").replace(b": 3", b": 03"),
    request("POST", "/a", b"1", headers={"X-Request-Id": "mine"}),
    request("POST", "/a", b"1", headers={"Content-Length": "1"}),
    b"POST /a HTTP/1.1\r\nHost: h\r\ncontent-length: 3\r\nX: y\r\n\r\nabc",
    b"POST /a HTTP/1.1\r\nHost: h\r\ncontent-length: 5\r\nX: y\r\n\r\nabcde",
    b"POST /a HTTP/1.1\r\nHost: h\r\ncontent-length: 5\r\nX: z\r\n\r\nabcde",
    b"POST /a HTTP/1.1\r\nHost: h\r\nX-Length: 5\r\nContent-Length: 1\r\n\r\nx",
    request("POST", "/a", b"1", headers={"Connection": "close"}),
    request("POST", "/a", b"1", headers={"Expect": "100-continue"}),
    request("POST", "/a", b"1", headers={"Connection": "Upgrade", "Upgrade": "h2c"}),
    request("POST", "/a", headers={"Transfer-Encoding": "chunked"}) + b"0\r\n\r\n",
    b"POST /a HTTP/1.0\r\nContent-Length: 1\r\n\r\n1",
    b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    b"GET  HTTP/1.1\r\n\r\n",
]


class Mirror(Resource):
    """Answers with what it was asked."""

    isLeaf = True
    head = b""

    def render(self, request: BoundedRequest) -> bytes:
        fields = sorted(request.fields.items())
        return b"%s %s %r %s" % (request.method, request.uri, fields, request.body)


class Forgetful(SeenHeads):
    """Knows no head again."""

    def keep(self, data: bytes, head: Head) -> None:
        pass


def site(heads: SeenHeads | None = None) -> BoundedSite:
    made = BoundedSite(Mirror(), body_limit=BODY_LIMIT, reactor=Clock())
    made.seen = heads or SeenHeads()
    return made


def answers(to: BoundedSite, *data: bytes, half_close: bool = False) -> bytes:
    """All that comes back on a new connection."""
    connection = Connection(to)
    connection.send(*data)
    if half_close:
        connection.half_close()
    return OWN.sub(b"", connection.received)


def known(to: BoundedSite) -> int:
    return len(to.seen._heads)


def test_a_head_that_was_sent_before_is_not_parsed_again() -> None:
    here = site()
    connection = Connection(here)
    connection.send(request("POST", "/a", b"one"))
    connection.channel.reader._parser = None
    connection.send(request("POST", "/a", b"two"))
    assert [it.body[-3:] for it in connection.answers()] == [b"one", b"two"]
    assert here.requests == 2
    assert here.held == 0


def test_the_same_head_is_known_from_whatever_connection() -> None:
    here = site()
    first = answers(here, request("POST", "/a", b"one"))
    assert answers(here, request("POST", "/a", b"one")) == first
    assert known(here) == 1


def test_the_same_head_of_another_length_is_known() -> None:
    here = site()
    answers(here, request("POST", "/a", b"one"))
    for body in (b"", b"x", b"twelve bytes", b"x" * BODY_LIMIT):
        whole = request("POST", "/a", body)
        assert here.seen.find(whole) is not None
        assert answers(here, whole) == answers(site(), whole)
    assert known(here) == 1


def test_a_length_may_be_anywhere_in_a_head_in_any_case() -> None:
    here = site()
    for fields in (b"cOntent-lEngth: %d\r\nX: 1", b"X: 1\r\nContent-Length: %d"):
        head = b"POST /a HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n\r\n"
        assert answers(here, head % 1 + b"x")
        whole = head % 12 + b"twelve bytes"
        assert (here.seen.find(whole) is None) == (b"lEngth" in whole)
        assert answers(here, whole) == answers(site(), whole)


@pytest.mark.parametrize(
    "length", [b"4 ", b" 4", b"+4", b"-4", b"0x4", b"4,4", b"", b"00000000004"]
)
def test_a_length_that_is_not_a_plain_number_is_for_the_parser(length: bytes) -> None:
    here = site()
    answers(here, request("POST", "/a", b"body"))
    other = request("POST", "/a", b"body").replace(b": 4", b": " + length)
    assert here.seen.find(other) is None
    assert answers(here, other) == answers(site(), other)


def test_what_looks_like_a_length_is_for_the_parser() -> None:
    here = site()
    fields = {"X-Content-Length": "4"}
    for number in (1, 2):
        whole = request("POST", "/a", b"x" * number, headers=fields)
        assert answers(here, whole) == answers(site(), whole)
    assert not known(here)
    get = request("GET", "/a", headers={"Wavelength": "4"})
    assert answers(here, get) == answers(here, get) == answers(site(), get)


def test_a_body_that_is_too_long_is_refused_though_its_head_is_known() -> None:
    here = site()
    answers(here, request("POST", "/a", b"one"))
    assert b" 413 " in answers(here, request("POST", "/a", b"x" * (BODY_LIMIT + 1)))
    assert here.held == 0


def test_a_request_that_comes_in_two_parts_is_parsed() -> None:
    here = site()
    whole = request("POST", "/a", b"one")
    first = answers(here, whole)
    for cut in range(1, len(whole)):
        assert answers(here, whole[:cut], whole[cut:]) == first


def test_what_follows_on_it_is_parsed() -> None:
    here = site()
    whole = request("POST", "/a", b"one")
    first = answers(here, whole)
    assert answers(here, whole * 3) == first * 3
    assert answers(here, whole + b"\r\n" + whole) == first * 2


@pytest.mark.parametrize(
    "fields",
    [
        {"Connection": "close"},
        {"Expect": "100-continue"},
        {"Upgrade": "h2c", "Connection": "upgrade"},
        {"X": "x" * seen.LARGEST},
    ],
)
def test_special_and_large_heads_are_parsed_each_time(fields: dict[str, str]) -> None:
    here = site()
    assert answers(here, request("POST", "/a", b"one", headers=fields))
    assert not known(here)


def test_chunks_are_parsed_each_time() -> None:
    here = site()
    head = request("POST", "/a", headers={"Transfer-Encoding": "chunked"})
    assert answers(here, head + b"1\r\nx\r\n0\r\n\r\n")
    assert answers(here, head + b"0\r\n\r\n")
    assert not known(here)


def test_no_more_heads_are_kept_than_so_many() -> None:
    here = site()
    for number in range(seen.MAX_KEPT + 1):
        answers(here, request("GET", f"/{number}"))
    assert known(here) == 1


def test_each_body_is_asked_for_at_the_gate() -> None:
    here = site()
    asked: list[tuple[bytes, int]] = []

    def gate(request: BoundedRequest, announced: int) -> Refusal | None:
        asked.append((request.uri, announced))
        return (429, "too often", b"Retry-After: 1\r\n") if len(asked) > 2 else None

    here.gate = gate
    for status in (b"200", b"200", b"429"):
        assert b"HTTP/1.1 %s " % status in answers(here, request("POST", "/a", b"one"))
    assert asked == [(b"/a", 3)] * 3
    assert here.held == 0


def test_a_body_that_there_is_no_room_for_is_refused() -> None:
    here = site()
    assert b" 200 " in answers(here, request("POST", "/a", b"one"))
    here.held = here.limits.body_bytes - 2
    assert b" 503 " in answers(here, request("POST", "/a", b"one"))
    assert here.held == here.limits.body_bytes - 2


def test_one_connection_after_the_other_is_answered_as_by_a_parser() -> None:
    remembering, parsing = site(), site(Forgetful())
    for case in CASES:
        expected = answers(parsing, *case.sent, half_close=case.half_close)
        for _ in range(3):
            got = answers(remembering, *case.sent, half_close=case.half_close)
            assert got == expected, case.name
    assert remembering.held == parsing.held


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(WHOLE), min_size=1), st.integers(1, 400)),
        max_size=4,
    )
)
def test_whatever_comes_however_cut_is_answered_as_by_a_parser(
    connections: list[tuple[list[bytes], int]],
) -> None:
    remembering, parsing = site(), site(Forgetful())
    for requests, size in connections:
        for data in (requests, _cut(b"".join(requests), size)):
            assert answers(remembering, *data) == answers(parsing, *data)
    assert remembering.requests == parsing.requests
    assert remembering.held == parsing.held


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
