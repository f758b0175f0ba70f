"""A kernel of TensorFlow that never returns, in a real server."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.processes import ServerProcess, call, eventually


@pytest.fixture
def server(saved_model: Callable[[str], str]) -> Iterator[ServerProcess]:
    server = ServerProcess(
        *("--model", saved_model("hanging"), "--deadline_ms", "300"),
        *("--stuck_seconds", "0.5", "--drain_seconds", "0.5"),
    )
    yield server
    server.close()


def test_a_kernel_that_hangs_keeps_nobody_else_waiting(server: ServerProcess) -> None:
    url = server.ready()
    status, answer = call(f"{url}/wait", {"x": [1]})
    assert (status, answer) == (
        504,
        {"error": "the deadline passed before the answer was there"},
    )
    server.wait_for("A run of wait hangs: not back after 0.5 s, its slot is lost")
    assert call(f"{url}/double", {"x": [1]}) == (200, {"y": [2.0]})
    assert call(f"{url}/readyz") == (200, {"ready": True, "reasons": []})
    # More of them, until no slot is left.
    eventually(lambda: call(f"{url}/wait", {"x": [1]})[0] == 503)
    status, answer = call(f"{url}/readyz")
    assert status == 503
    assert "no session slot is left" in str(answer)
    assert call(f"{url}/double", {"x": [1]})[0] == 503
    assert call(f"{url}/healthz")[0] == 200
    # As of any process of Twisted's that is told to end.
    assert server.terminate() == -signal.SIGTERM
    assert "Runs hang; the process ends without them" in server.log
