"""What the attack with slow clients looks at. The attack itself is not a test."""

from __future__ import annotations

import socket
import sys

import attrs
import pytest

from benchmarks.drive import Reading
from benchmarks.slow import HEADS, MODES, SLACK, Pair, Watch, held, line, wrongs

MODE = MODES["body"]
QUIET = Reading(
    rate=1000.0,
    p50=1.0,
    p99=2.0,
    cpu=1.0,
    memory=1.0,
    batch_rows=None,
    checked=1,
    failures=0,
)
GOOD = Pair(QUIET, attrs.evolve(QUIET, p99=3.0), 500, MODE.deadline + 1, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_the_connections_that_a_server_holds_are_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert held(port) == set()
        with socket.create_connection(("127.0.0.1", port)) as client:
            server, _ = listener.accept()
            with server, Watch(port) as watch:
                assert len(held(port)) == 1
                assert watch.wait_for(1, seconds=10)
                server.close()
                assert watch.wait_for(0, seconds=10)
                # The client's side is there, and is not the server's.
                assert client.fileno() >= 0
            assert watch.count == 1


def test_a_pair_as_promised_is_not_complained_of() -> None:
    assert not list(wrongs(MODE, [GOOD]))


@pytest.mark.parametrize(
    ("pair", "wrong"),
    [
        (attrs.evolve(GOOD, attacked=attrs.evolve(QUIET, p99=4.1)), "2.05 times"),
        (attrs.evolve(GOOD, longest=MODE.deadline + SLACK + 1), "lived for"),
        (attrs.evolve(GOOD, left=1), "lived for"),
        (attrs.evolve(GOOD, attacked=attrs.evolve(QUIET, failures=3)), "3 normal"),
    ],
)
def test_what_is_not_as_promised_is_told(pair: Pair, wrong: str) -> None:
    (told,) = wrongs(MODE, [pair])
    assert wrong in told


def test_a_single_bad_pair_among_good_ones_is_somebody_else_s_doing() -> None:
    bad = attrs.evolve(GOOD, attacked=attrs.evolve(QUIET, p99=40.0))
    assert not list(wrongs(MODE, [GOOD, bad, GOOD]))


def test_a_line_has_a_cell_for_each_head() -> None:
    cells = line(MODE, [GOOD])
    assert len(cells) == len(HEADS)
    assert cells[-4:] == ["1.50", "500", "31.0", "30"]
