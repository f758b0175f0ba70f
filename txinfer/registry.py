"""The models that are served, by name, version and label.

What a request's address means is found out by a few look-ups; from there on the
request holds a method of one version, whatever is published meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from zope.interface import implementer

from .errors import Unavailable, UnknownLabel, UnknownModel, UnknownVersion
from .interfaces import IMethod, IModels, IPredictor
from .models import CLOSING, LOADING, NOT_LOADED, Servable


@implementer(IPredictor)
class Versions:
    """The versions of one model; as a predictor it is the highest available one.

    ``available`` holds those that are called, by number. ``labels`` are names of
    versions, whether they are available or not. ``failures`` tells of versions
    that could not be loaded, in words for any client, and ``pending`` of those
    that are not loaded yet.
    """

    def __init__(self, name: str, labels: dict[str, int] | None = None) -> None:
        self.name = name
        self.available: dict[int, Servable] = {}
        self.labels: dict[str, int] = dict(labels or {})
        self.failures: dict[int, str] = {}
        self.pending: dict[int, str] = {}
        self.refusal = LOADING
        self._current: Servable | None = None
        # What is loaded, or goes on answering what it has; in no order.
        self._others: list[Servable] = []

    # As a predictor

    def methods(self) -> list[IMethod]:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        return self.current().methods()

    def method(self, name: str) -> IMethod:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        servable = self._current
        if servable is None:
            raise Unavailable(self.refusal)
        return servable.method(name)

    def lease(self, name: str) -> AbstractContextManager[IMethod]:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        servable = self._current
        if servable is None:
            raise Unavailable(self.refusal)
        return servable.lease(name)

    def current(self) -> Servable:
        """The highest available version; Unavailable if there is none."""
        if self._current is None:
            raise Unavailable(self.refusal)
        return self._current

    def version(self, number: int) -> Servable:
        """The available version of that number.

        Raises:
            UnknownVersion: there is none.
            Unavailable: it is not to be had now.
        """
        servable = self.available.get(number)
        if servable is not None:
            return servable
        if number in self.failures:
            raise Unavailable(NOT_LOADED)
        if number in self.pending or not self.available:
            raise Unavailable(self.refusal)
        raise UnknownVersion(str(number), sorted(self.available))

    def label(self, label: str) -> Servable:
        """The available version of that label.

        Raises:
            UnknownLabel: there is no such label.
            Unavailable: its version is not to be had now.
        """
        number = self.labels.get(label)
        if number is None:
            raise UnknownLabel(label, sorted(self.labels))
        servable = self.available.get(number)
        if servable is None:
            raise Unavailable(self.refusal if not self.available else NOT_LOADED)
        return servable

    # What the floors above do

    def add(self, servable: Servable) -> None:
        """Show a version that is about to be loaded."""
        self._others.append(servable)

    def drop(self, servable: Servable) -> None:
        """Show a version no more: it has ended."""
        if servable in self._others:
            self._others.remove(servable)

    def publish(self, servable: Servable) -> Servable | None:
        """Have a version called from now on.

        Returns:
            The one of the same number that was called before, if there was one.
        """
        self.drop(servable)
        old = self.available.get(servable.number)
        self.available[servable.number] = servable
        self.failures.pop(servable.number, None)
        self._choose()
        return self._left(old)

    def withdraw(self, number: int) -> Servable | None:
        """Have a version called no more; returns it, if it was available."""
        old = self.available.pop(number, None)
        self._choose()
        return self._left(old)

    def close(self) -> list[Servable]:
        """Have nothing called any more; returns what was available."""
        self.refusal = CLOSING
        gone = [self.withdraw(number) for number in list(self.available)]
        return [servable for servable in gone if servable is not None]

    def _left(self, old: Servable | None) -> Servable | None:
        if old is not None:
            self._others.append(old)
        return old

    def _choose(self) -> None:
        highest = max(self.available, default=None)
        self._current = None if highest is None else self.available[highest]

    def listing(self) -> dict[str, Any]:
        """What is told of the model, in JSON's types."""
        shown = [*self.available.values(), *self._others]
        rows = [_row(it.number, it.state.value, methods=it.names()) for it in shown]
        rows += [_row(n, "START", waiting=why) for n, why in self.pending.items()]
        for number, why in self.failures.items():
            if number in self.available:
                # What is served is what was there before.
                rows[list(self.available).index(number)]["error"] = why
            else:
                rows.append(_row(number, "END", error=why))
        rows.sort(key=lambda row: -row["version"])
        return {"name": self.name, "labels": dict(self.labels), "versions": rows}


@implementer(IModels)
class Registry:
    """All models, in the order in which they were named.

    ``default`` is the name of the one that is meant if none is said.
    """

    def __init__(self, models: Iterable[Versions]) -> None:
        self._models = {versions.name: versions for versions in models}
        self.default = next(iter(self._models), "")

    def __iter__(self) -> Iterator[Versions]:
        return iter(list(self._models.values()))

    def add(self, versions: Versions) -> None:
        """Have a model called; KeyError if another is called so."""
        if versions.name in self._models:
            raise KeyError(versions.name)
        self._models[versions.name] = versions

    def remove(self, model: str) -> None:
        """Have a model called no more."""
        del self._models[model]

    def at(
        self,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> IPredictor:
        """See :class:`~txinfer.interfaces.IModels`."""
        versions = self.versions(self.default if model is None else model)
        if version is not None:
            return versions.version(version)
        return versions if label is None else versions.label(label)

    def versions(self, model: str) -> Versions:
        """The versions of the model of that name; UnknownModel if there is none."""
        found = self._models.get(model)
        if found is None:
            raise UnknownModel(model, list(self._models))
        return found

    def listing(self) -> list[dict[str, Any]]:
        """See :class:`~txinfer.interfaces.IModels`."""
        return [versions.listing() for versions in self._models.values()]


def _row(number: int, state: str, **more: object) -> dict[str, Any]:
    return {"version": number, "state": state, **more}
