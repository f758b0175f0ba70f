"""Models and versions that come and go while others are served, by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from .errors import InferenceError, InvalidModel
from .life import Life
from .places import is_url, shown
from .specs import ModelSpec

T = TypeVar("T")

Listing = dict[str, Any]


class Taken(InferenceError):
    """There is a model of that name."""

    status = 409


class NotServed(InferenceError):
    """A model or version cannot be served; the text is for operators."""

    status = 422


class Administration:
    """Does what operators ask for, in full, whether they wait for it or not.

    Each Deferred fires with what there is of the model then, in JSON's types, and
    fails with :class:`NotServed`, or with what finding the model raises; cancelling
    it stops nothing.

    Args:
        life: gives what is running now; Unavailable if nothing is.
        tags: the tags of the graph to load, of models that do not say theirs.
    """

    log = Logger()

    def __init__(self, life: Callable[[], Life], tags: tuple[str, ...]) -> None:
        self._life = life
        self._tags = tags

    def models(self) -> list[Listing]:
        """All models."""
        return [self.model(name) for name in self._life().watchers]

    def model(self, name: str) -> Listing:
        """One model, with what is wrong with its versions; UnknownModel if none."""
        watcher = self._life().watcher(name)
        listing = watcher.versions.listing()
        for row in listing["versions"]:
            why = watcher.notes.why(row["version"])
            if "error" in row and why is not None:
                row["error"] = why
        return {"path": shown(self._life().specs[name].path), **listing}

    def load(self, name: str, spec: ModelSpec) -> Deferred[Listing]:
        """Load a model that is not there yet, and serve it.

        It fails with :class:`Taken` if there is one of that name.
        """
        if not is_url(spec.path) and not os.path.isabs(spec.path):
            # Nobody who is somewhere else knows where the server was started.
            raise NotServed("the path must be absolute")
        spec = attrs.evolve(spec, tags=spec.tags or self._tags)
        return self._do(name, "load", self._life().add(name, spec))

    def unload(self, name: str) -> Deferred[Listing]:
        """Serve a model no more; fires when its calls are answered."""
        listing = self.model(name)
        done = self._do(name, "unload", self._life().remove(name), listed=False)
        return done.addCallback(lambda _: {**listing, "versions": []})

    def reload(self, name: str, number: int | None = None) -> Deferred[Listing]:
        """Load what is loaded again, beside it; an archive is fetched anew."""
        watcher = self._life().watcher(name)
        if number is not None:
            watcher.versions.version(number)
        return self._do(name, f"reload {number or 'all'}", watcher.reload(number))

    def load_version(self, name: str, number: int) -> Deferred[Listing]:
        """Load a version, whatever the policy says."""
        watcher = self._life().watcher(name)
        return self._do(name, f"load {number}", watcher.load(number))

    def unload_version(self, name: str, number: int) -> Deferred[Listing]:
        """Serve a version no more, until it is loaded again by hand."""
        watcher = self._life().watcher(name)
        watcher.versions.version(number)
        return self._do(name, f"unload {number}", watcher.unload(number))

    def label(self, name: str, label: str, number: int | None) -> Deferred[Listing]:
        """Have a label stand for a version that is served, or for none."""
        watcher = self._life().watcher(name)
        if number is not None:
            watcher.versions.version(number)
        what = f"label {label} as {number or 'nothing'}"
        return self._do(name, what, watcher.label(label, number))

    def _do(
        self,
        name: str,
        what: str,
        doing: Coroutine[Deferred[Any], Any, None],
        listed: bool = True,
    ) -> Deferred[Listing]:
        """Do something that must not be stopped half-way."""
        self.log.info("{model}: {what}", model=name, what=what)
        told: Deferred[Listing] = Deferred()

        def done(result: object) -> None:
            if isinstance(result, Failure):
                self._tell_failure(told, result)
            elif not told.called:
                told.callback(self.model(name) if listed else {})

        Deferred.fromCoroutine(doing).addBoth(done)
        return told

    def _tell_failure(self, told: Deferred[Listing], failure: Failure) -> None:
        error = failure.value
        if isinstance(error, KeyError):
            error = Taken("there is a model of that name")
        elif isinstance(error, (InvalidModel, ValueError)):
            error = NotServed(str(error))
        elif not isinstance(error, InferenceError):
            self.log.failure("A model could not be managed", failure)
            error = NotServed("it failed; the log says why")
        if not told.called:
            told.errback(error)
