"""What a Deferred came to, for tests in which all happens at once."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def result(deferred: Deferred[T]) -> T:
    """The result of a Deferred that must have fired."""
    results: list[T] = []
    failures: list[Any] = []
    deferred.addCallbacks(results.append, failures.append)
    for failure in failures:
        failure.raiseException()
    assert results, "it has not fired"
    return results[0]


def reason(deferred: Deferred[T]) -> BaseException:
    """The error of a Deferred that must have failed."""
    results: list[T] = []
    failures: list[Any] = []
    deferred.addCallbacks(results.append, failures.append)
    assert failures, f"it has not failed, but given {results}"
    error: BaseException = failures[0].value
    return error
