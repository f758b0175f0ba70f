"""Names that Twisted keeps to itself and this package uses all the same.

A release of Twisted may drop them without notice; then this says so first.
"""

from __future__ import annotations

import pytest
from twisted.web.http import HTTPChannel, Request

INSTANCE = HTTPChannel()


@pytest.mark.parametrize(
    "name",
    ["_handlingRequest", "_dataBuffer", "_transferDecoder", "_waitingForTransport"],
)
def test_the_channel_has(name: str) -> None:
    assert hasattr(INSTANCE, name)


@pytest.mark.parametrize(
    "name", ["_respondToBadRequestAndDisconnect", "_send100Continue", "_busyReceiving"]
)
def test_the_channel_can(name: str) -> None:
    assert hasattr(HTTPChannel, name)


def test_the_request_logs() -> None:
    assert hasattr(Request, "_log")
