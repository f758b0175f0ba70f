"""What the headers of an answer say of a call."""

from __future__ import annotations

import pytest
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource

from tests.web_client import WebClient
from txinfer.headers import LONGEST_ID, new_id, request_id, server_timing
from txinfer.trace import Trace
from txinfer.web import reply


class Named(Resource):
    """Answers with the name of the request."""

    isLeaf = True

    def render(self, request: IRequest) -> bytes:
        assert request_id(request) == request_id(request)
        return reply(request, request_id(request).decode())


def named(header: str | None) -> str:
    headers = {} if header is None else {"X-Request-Id": header}
    name = WebClient(Named()).ask("GET", "/", None, headers).value
    assert isinstance(name, str)
    return name


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "7b22c0de-0000-4000-8000-123456789abc",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "AZaz09-_.:/+=",
        "x" * LONGEST_ID,
    ],
)
def test_a_sensible_name_is_kept(name: str) -> None:
    assert named(name) == name


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        " ",
        "a b",
        'a"b',
        "a;b",
        "a%0d%0ab",
        "<a>",
        "é",
        "x" * (LONGEST_ID + 1),
    ],
)
def test_any_other_is_replaced(name: str | None) -> None:
    made = named(name)
    assert made != name
    assert named(made) == made


def test_names_of_our_own_differ() -> None:
    names = {new_id() for _ in range(1000)}
    assert len(names) == 1000
    assert all(len(name) <= 40 for name in names)


def test_phases_are_told_in_milliseconds() -> None:
    trace = Trace(
        decode_seconds=9,
        fetch_seconds=0.25,
        queued_seconds=0.0015,
        run_seconds=1.5,
        batch_rows=32,
    )
    assert server_timing(trace) == (
        b'fetch;dur=250.000, queue;dur=1.500, run;dur=1500.000, batch;desc="32 rows"'
    )


def test_each_run_is_told_of_as_it_was() -> None:
    for _ in range(2):
        for seconds in (0.001, 0.002, 0.0020004):
            for rows in (1, 2):
                told = server_timing(Trace(run_seconds=seconds, batch_rows=rows))
                wanted = f'run;dur={seconds * 1000:.3f}, batch;desc="{rows} rows"'
                assert told.endswith(wanted.encode())


def test_what_did_not_happen_took_no_time() -> None:
    assert server_timing(Trace()).startswith(b"fetch;dur=0.000, queue;dur=0.000, ")
