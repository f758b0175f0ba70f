from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.cases import CASES
from tests.hostile.fuzz import Victim, attacks
from tests.hostile.wire import Case
from tests.web_client import Connection


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    victim = Victim()
    yield victim
    victim.close()


def answers(connection: Connection, sent: bytes) -> list[int]:
    """The statuses of the answers, which are all whole."""
    method = sent.partition(b" ")[0].decode("latin-1")
    return [answer.status for answer in connection.answers(method)]


SHORT = [case for case in CASES if 0 < sum(map(len, case.sent)) < 5000]


@pytest.mark.parametrize("case", SHORT, ids=[case.name for case in SHORT])
def test_in_whatever_segments_it_comes_it_is_answered_alike(
    victim: Victim, case: Case
) -> None:
    sent = b"".join(case.sent)
    if b"/web/" in sent:
        pytest.skip("there are no static files here")
    whole = answers(victim.suffer([sent], "half_closes"), sent)
    for size in (1, 3, 64):
        segments = [sent[i : i + size] for i in range(0, len(sent), size)]
        parts = answers(victim.suffer(segments, "half_closes"), sent)
        assert parts == whole


def test_nothing_that_is_refused_fills_the_log(victim: Victim) -> None:
    victim.logged.clear()
    for case in CASES:
        victim.suffer(list(case.sent), "half_closes")
    assert not victim.logged


def test_nothing_that_is_damaged_does_damage(victim: Victim) -> None:
    for segments, ending in attacks(3000, seed=1):
        victim.suffer(segments, ending)
