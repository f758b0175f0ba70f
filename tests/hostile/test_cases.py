"""Each hostile case against a real server, which must not even notice."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.hostile.cases import CASES
from tests.hostile.conftest import Target
from tests.hostile.wire import CLOSED, Case, head, post


def send(wire: socket.socket, case: Case) -> None:
    """Send all of it, or as much as the server takes."""
    try:
        for segment in case.sent:
            wire.sendall(segment)
        if case.half_close:
            wire.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        pass


def read_answer(stream: Any) -> tuple[int, dict[str, str], bytes] | None:
    """The next answer that is not an interim one; None at the end."""
    line = stream.readline()
    if not line:
        return None
    version, status, _ = line.decode("latin-1").split(" ", 2)
    assert version == "HTTP/1.1"
    fields = {}
    while (line := stream.readline()) != b"\r\n":
        assert line.endswith(b"\r\n"), line
        name, _, value = line.decode("latin-1").strip().partition(": ")
        assert name.lower() not in fields, name
        fields[name.lower()] = value
    if int(status) == 100:
        return read_answer(stream)
    body = stream.read(int(fields.get("content-length", 0)))
    return int(status), fields, body


def assert_in_form(status: int, fields: dict[str, str], body: bytes) -> None:
    """Every error is JSON, and tells nothing of the server's inside."""
    assert b"Traceback" not in body
    assert b"secret" not in body
    if status >= 400:
        assert b"txinfer" not in body
        assert fields["content-type"] == "application/json"
        assert list(json.loads(body)) == ["error"]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_it_is_answered_as_it_should_be_and_harms_nobody(
    target: Target, case: Case
) -> None:
    bystander = target.connect()
    with target.connect() as wire, wire.makefile("rb") as stream:
        send(wire, case)
        answer = read_answer(stream)
        if case.status == CLOSED:
            assert answer is None
        else:
            assert answer is not None
            assert answer[0] == case.status, answer
            assert_in_form(*answer)
        if case.closes:
            while answer is not None:
                closing = answer
                answer = read_answer(stream)
                assert case.status == CLOSED or closing[1].get("connection") in (
                    ("close",) if answer is None else (None,)
                )
    with bystander, bystander.makefile("rb") as stream:
        bystander.sendall(post(b'{"x": [3.0]}'))
        status, _, body = read_answer(stream) or (0, {}, b"")
        assert (status, json.loads(body)) == (200, {"y": [7.0]})
    assert not any(target.settled().values())


LARGE = 20 * 1024 * 1024
PIECE = bytes(64 * 1024)


@pytest.mark.parametrize(
    "sent",
    [
        (head("POST / HTTP/1.1", f"Content-Length: {LARGE}"), PIECE),
        (
            head("POST / HTTP/1.1", "Transfer-Encoding: chunked"),
            b"%x\r\n%b\r\n" % (len(PIECE), PIECE),
        ),
    ],
    ids=["announced", "chunked"],
)
def test_who_is_in_the_middle_of_20_mb_sees_why_they_are_refused(
    target: Target, sent: tuple[bytes, bytes]
) -> None:
    first, piece = sent
    large = Case("large", (first, *[piece] * (LARGE // len(PIECE))), 413)
    for _ in range(30):
        with target.connect() as wire, wire.makefile("rb") as stream:
            send(wire, large)
            answer = read_answer(stream)
        assert answer is not None
        assert answer[0] == 413
        assert_in_form(*answer)
    assert not any(target.settled().values())


def test_there_are_enough_cases_and_each_has_a_name() -> None:
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)
