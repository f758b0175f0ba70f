"""Under other sites than our own every answer is counted too."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.test_native import Bench
from tests.test_visits import counted
from tests.web_client import WebClient
from txinfer.gone import GONE
from txinfer.site import BoundedSite
from txinfer.web import ErrorResource


class Mounted(Bench):
    """The API somewhere in the tree of an application's site."""

    def __init__(self, kind: type[Site]) -> None:
        super().__init__()
        top: Any = Resource()
        top.putChild(b"api", self.root)
        top.putChild(b"other", ErrorResource(418, "the application's"))
        self.web = WebClient(top, kind(top, reactor=self.clock))
        self.load()


@pytest.fixture(params=[Site, BoundedSite])
def bench(request: Any) -> Bench:
    return Mounted(request.param)


def test_answers_are_counted(bench: Bench) -> None:
    assert bench.post("/api/upper", {"text": ["a"]}).status == 200
    assert bench.post("/api/upper", {"text": [1]}).status == 400
    assert bench.post("/api/nope", {}).status == 404
    assert bench.get("/api/").status == 200
    assert bench.web.ask("PUT", "/api/upper").status == 405
    assert bench.get("/api/%ff").status == 400
    assert counted(bench, "upper") == {200: 1, 400: 1}
    assert counted(bench, "") == {404: 1, 200: 1, 405: 1, 400: 1}


def test_clients_that_hang_up_are_counted(bench: Bench) -> None:
    for _ in range(2):
        bench.begin("/api/upper", {"text": ["a"]}).hang_up()
    assert bench.root.elsewhere.in_flight() == {}
    bench.threads.finish()
    counts = bench.told.methods["", "upper"]
    assert (dict(counts.statuses), counts.cancelled) == ({GONE: 2}, 2)


def test_requests_are_in_flight_until_they_are_answered(bench: Bench) -> None:
    call = bench.begin("/api/upper", {"text": ["a"]})
    assert list(bench.root.elsewhere.in_flight().values()) == [1]
    bench.threads.finish()
    assert call.answer().status == 200
    assert bench.root.elsewhere.in_flight() == {}


def test_what_is_not_of_the_api_is_not_counted(bench: Bench) -> None:
    assert bench.get("/other").status == 418
    assert not bench.told.methods
