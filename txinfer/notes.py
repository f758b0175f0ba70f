"""What went wrong with the versions of a model, told once."""

from __future__ import annotations

from collections.abc import Set

from twisted.logger import Logger
from twisted.python.failure import Failure

from .errors import InvalidModel
from .registry import Versions

#: Where the failure to find any version is remembered, among those of versions.
NO_VERSION = -1


class Notes:
    """Remembers failures, and logs those that are new.

    Those of the first look are told when it is over: if nothing can be served at
    all, by whoever waited for it.

    Args:
        versions: those of the model; clients may read of failures there.
    """

    log = Logger()

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        # A Failure keeps all that the code that failed knew, models among it: only
        # those of the first look are kept, until it is over.
        self._whys: dict[int, str] = {}
        self._first: dict[int, Failure] | None = {}

    def take(self, number: int, failure: Failure, public: str | None = None) -> None:
        """Remember a failure.

        Args:
            number: of the version, or ``NO_VERSION``.
            failure: for operators.
            public: the same in words for any client; None to tell them nothing.
        """
        if public is not None:
            self._versions.failures[number] = public
        why = failure.getErrorMessage()
        if self._first is not None:
            self._first[number] = failure
        elif self._whys.get(number) != why:
            self._log(failure)
        self._whys[number] = why

    def why(self, number: int) -> str | None:
        """What went wrong with a version last, for operators."""
        return self._whys.get(number)

    def forget(self, number: int) -> None:
        """Nothing is wrong with a version any more."""
        self._whys.pop(number, None)
        self._versions.failures.pop(number, None)

    def forget_but(self, numbers: Set[int]) -> None:
        """Forget all versions but these."""
        for number in self._whys.keys() - numbers:
            self.forget(number)

    def end_first_look(self) -> None:
        """Tell what went wrong with it, or raise that if nothing can be served."""
        first, self._first = self._first or {}, None
        if first and not self._versions.available:
            first[max(first)].raiseException()
        for failure in first.values():
            self._log(failure)

    def _log(self, failure: Failure) -> None:
        name = self._versions.name
        if failure.check(InvalidModel):
            why = failure.getErrorMessage()
            self.log.error("{model}: {why}", model=name, why=why)
        else:
            self.log.failure("{model} could not be loaded", failure, model=name)
