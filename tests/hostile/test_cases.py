"""Each hostile case against a real server, which must not even notice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.hostile.cases import CASES, CLOSED, Case, post
from tests.processes import ROOT, environment

# Seconds after which a test gives up; nothing here takes a tenth of it.
PATIENCE = 10.0


@attrs.define(eq=False)
class Target:
    """The server under attack."""

    process: subprocess.Popen[str]
    port: int
    gauges_port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def gauges(self) -> dict[str, int]:
        url = f"http://127.0.0.1:{self.gauges_port}/"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            found: dict[str, int] = json.load(answer)
        return found

    def settled(self) -> dict[str, int]:
        """The gauges, once nothing changes any more."""
        gauges = self.gauges()
        for _ in range(5000):
            if not any(gauges.values()):
                break
            gauges = self.gauges()
        return gauges


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacked") / "web"
    folder.mkdir()
    (folder / "index.html").write_text("hello")
    (folder / ".secret").write_text("secret")
    (folder.parent / "cases.py").write_text("secret")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.server", str(folder)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ports = process.stdout.readline().split()
    assert len(ports) == 2, process.communicate()[1]
    yield Target(process, int(ports[0]), int(ports[1]))
    assert process.poll() is None
    process.terminate()
    _, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors


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
    assert b"txinfer" not in body
    assert b"secret" not in body
    if status >= 400:
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


def test_there_are_enough_cases_and_each_has_a_name() -> None:
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)
