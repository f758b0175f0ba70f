from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from tests.hostile.cases import CASES
from tests.web_client import Connection, request
from txinfer import seen
from txinfer.incoming import Refusal
from txinfer.reading import Reader
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
    request("POST", "/a", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 50),
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

    def keep(self, data: bytes, head: Head, came: int) -> None:
        pass


class Parsing(Reader):
    """Parses bodies, too."""

    def _leave_parser(self) -> None:
        pass


def site(heads: SeenHeads | None = None) -> BoundedSite:
    made = BoundedSite(Mirror(), body_limit=BODY_LIMIT, reactor=Clock())
    made.seen = heads or SeenHeads()
    return made


def answers(to: BoundedSite, *data: bytes, half_close: bool = False) -> bytes:
    """All that comes back on a new connection."""
    connection = Connection(to)
    if isinstance(to.seen, Forgetful):
        connection.channel.reader = Parsing(connection.channel, to)
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


def test_any_number_of_lengths_are_known_and_the_last_ones_by_heart() -> None:
    here = site()
    answers(here, request("POST", "/a", b"one"))
    for _ in range(2):
        for size in range(1, seen.MAX_KEPT + 10):
            whole = request("POST", "/a", b"x" * size)
            first, again = here.seen.find(whole), here.seen.find(whole)
            assert first is not None
            assert again is not None
            assert first[0] is again[0]
            assert first[0].length == first[1] == size
    assert len(here.seen._whole) <= seen.MAX_KEPT
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


def test_a_request_that_comes_in_two_parts_is_answered_alike() -> None:
    here = site()
    whole = request("POST", "/a", b"one")
    first = answers(here, whole)
    for cut in range(1, len(whole)):
        assert answers(here, whole[:cut], whole[cut:]) == first


def begin(to: BoundedSite, *data: bytes) -> Connection:
    """A connection without a parser, on which a request has begun."""
    connection = Connection(to)
    connection.channel.reader._parser = None
    connection.send(*data)
    return connection


BODY = bytes(range(256)) * 7
LARGE = request("POST", "/a", BODY)
HEAD = LARGE[: -len(BODY)]


def body_of(connection: Connection) -> bytes:
    return connection.answer().body[-len(BODY) :]


@pytest.mark.parametrize("size", [1, 10, 100, 1000])
@pytest.mark.parametrize("first", [0, 1, 500])
def test_a_body_in_parts_needs_no_parser_once_its_head_is_known(
    first: int, size: int
) -> None:
    here = site()
    expected = answers(here, request("POST", "/a", b"one"))
    connection = begin(here, HEAD + BODY[:first])
    for number, part in enumerate(_cut(BODY[first:], size)):
        assert here.held == first + number * size
        connection.send(part)
    assert body_of(connection) == BODY
    assert here.held == 0
    assert here.requests == 2
    # What comes now is a request again.
    connection.wire.clear()
    connection.send(request("POST", "/a", b"one"))
    assert OWN.sub(b"", connection.received) == expected


def test_a_head_is_known_that_came_without_all_of_its_body() -> None:
    here = site()
    whole = answers(here, HEAD, BODY)
    assert known(here) == 1
    assert body_of(begin(here, HEAD, BODY)) == BODY
    here = site()
    assert answers(here, HEAD + BODY[:9], BODY[9:]) == whole
    assert known(here) == 1
    assert body_of(begin(here, LARGE)) == BODY


def test_a_head_in_parts_is_parsed_and_its_body_is_not() -> None:
    here = site()
    connection = Connection(here)
    connection.send(HEAD[:9], HEAD[9:] + BODY[:9])
    assert not known(here)
    connection.channel.reader._parser = None
    connection.send(BODY[9:])
    assert body_of(connection) == BODY


@pytest.mark.parametrize("is_known", [True, False])
def test_what_follows_on_a_body_in_parts_is_a_request(is_known: bool) -> None:
    here, parsing = site(), site(Forgetful())
    second = request("POST", "/b", b"two")
    if is_known:
        answers(here, request("POST", "/a", b"one"), second)
    for end in (second, second * 2, b"\r\n" + second, second[:9], HEAD + b"x", b"no"):
        data = HEAD + BODY[:9], BODY[9:] + end
        assert answers(here, *data) == answers(parsing, *data)
    # What there is of the one that is not whole.
    assert here.held == parsing.held == 1


def test_a_body_on_a_known_head_that_is_too_long_is_refused_when_it_begins() -> None:
    here = site()
    answers(here, request("POST", "/a", b"one"))
    long = request("POST", "/a", b"x" * (BODY_LIMIT + 1))
    refused = answers(here, long[:-9])
    assert b" 413 " in refused
    assert refused == answers(site(), long[:-9])
    assert here.held == 0


def test_a_body_on_a_known_head_is_not_begun_if_the_gate_says_so() -> None:
    here = site()
    answers(here, request("POST", "/a", b"one"))
    here.gate = lambda request, announced: (429, f"not {announced}", b"")
    refused = answers(here, HEAD + BODY[:9], BODY[9:])
    assert b" 429 " in refused
    assert b"not %d" % len(BODY) in refused
    assert here.held == 0


def test_a_body_on_a_known_head_is_refused_when_there_is_no_more_room() -> None:
    here = site()
    answers(here, request("POST", "/a", b"one"))
    others = here.held = here.limits.body_bytes - 100
    connection = begin(here, HEAD + BODY[:60])
    assert not connection.received
    connection.send(BODY[60:])
    assert connection.answer().status == 503
    assert here.held == others


@pytest.mark.parametrize("is_known", [True, False])
def test_who_hangs_up_in_a_body_leaves_nothing(is_known: bool) -> None:
    here = site()
    if is_known:
        answers(here, request("POST", "/a", b"one"))
    connection = Connection(here)
    connection.send(HEAD + BODY[:9], BODY[9:99])
    assert here.held == 99
    assert here.in_flight().total() == 1
    connection.hang_up()
    assert here.held == 0


@pytest.mark.parametrize("is_known", [True, False])
def test_who_ends_in_a_body_is_told_so(is_known: bool) -> None:
    here = site()
    if is_known:
        answers(here, request("POST", "/a", b"one"))
    told = answers(here, HEAD + BODY[:9], half_close=True)
    assert b" 400 " in told
    assert b"cut short" in told
    assert here.held == 0


@pytest.mark.parametrize("is_known", [True, False])
def test_a_body_that_drips_has_its_deadline_from_its_head_on(is_known: bool) -> None:
    here = site()
    clock: Any = here.clock
    if is_known:
        answers(here, request("POST", "/a", b"one"))
    connection = Connection(here)
    connection.send(HEAD)
    for _ in range(9):
        clock.advance(here.limits.body_timeout / 10)
        connection.send(b"x")
    assert not connection.received
    clock.advance(here.limits.body_timeout / 10)
    clock.advance(1)
    assert connection.answer().status == 408
    assert here.held == 0


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
