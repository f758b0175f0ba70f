"""The versions of one model, kept in step with what its source has.

A version is loaded beside the old one, published in one step, and the old one
ends when its last call is answered. One that cannot be loaded replaces nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .errors import InvalidModel
from .loader import Loader
from .models import NOT_LOADED, Servable, State
from .registry import Versions
from .sources import Found, ISource
from .specs import VersionPolicy, listed, wanted_of

# A mark that no version has.
NEVER = object()

# Where the failure to find any version is remembered, among those of versions.
NO_VERSION = -1


class VersionWatcher:
    """Loads, publishes and retires the versions of one model.

    Args:
        versions: what is kept in step.
        source: where versions are found.
        policy: which of them are wanted.
        loader: loads them.
        clock: for the time between two looks.
        poll_seconds: that time; with 0 there is only the first look.
    """

    log = Logger()

    def __init__(
        self,
        versions: Versions,
        source: ISource,
        policy: VersionPolicy,
        loader: Loader,
        clock: IReactorTime,
        poll_seconds: float,
    ) -> None:
        self.versions = versions
        self._source = source
        self._policy = policy
        self._loader = loader
        self._poll_seconds = poll_seconds and max(poll_seconds, source.least_poll)
        self._polling = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))
        self._polling.clock = clock
        self._lock = DeferredLock()
        self._stopping = False
        self._loading: Servable | None = None
        self._ending: set[Deferred[None]] = set()
        # The marks of the versions: at the last look, as loaded, as refused.
        self._seen: dict[int, Hashable] = {}
        self._loaded: dict[int, Hashable] = {}
        self._refused: dict[int, Hashable] = {}
        # What went wrong last. A Failure keeps all that the code that failed knew,
        # models among it: only those of the first look are kept, until it is over.
        self._whys: dict[int, str] = {}
        self._errors: dict[int, Failure] = {}
        self._first = True

    async def start(self) -> None:
        """Load what is wanted now, and look again from time to time.

        Raises:
            InvalidModel: there is no version that can be served.
            Exception: whatever else loading the highest of them raised.
        """
        await self.look()
        self._first = False
        if self._poll_seconds and not self._stopping:
            self._polling.start(self._poll_seconds, now=False)
        errors, self._errors = self._errors, {}
        if not self.versions.available and errors:
            errors[max(errors)].raiseException()
        for failure in errors.values():
            self._log_failure(failure)

    async def stop(self) -> None:
        """Load nothing more, and end all versions when their calls are answered."""
        self._stopping = True
        if self._polling.running:
            self._polling.stop()
        self._source.stop()
        if self._loading is not None:
            self._loading.retire()
        for servable in self.versions.close():
            self._end(servable)
        # What is being loaded cannot be interrupted.
        async with self._lock:
            pass
        await gatherResults(self._ending)
        await self._source.clear()

    async def look(self) -> None:
        """Compare what is there with what is loaded, and do what is to be done.

        What goes wrong is logged, once.
        """
        async with self._lock:
            try:
                numbers = set(await self._source.numbers())
            except Exception:
                self._take_note(NO_VERSION, Failure())
                return
            self._note_missing(numbers)
            await self._load_wanted(numbers)
            self._retire_unwanted(numbers)

    # In

    async def _load_wanted(self, numbers: set[int]) -> None:
        """Load what is wanted, highest first; others stand in for what cannot be."""
        good, tried = set(numbers), set[int]()
        pending: dict[int, str] = {}
        while not self._stopping and (untried := self._wanted(good) - tried):
            number = max(untried)
            tried.add(number)
            why = await self._ensure(number)
            if why is not None:
                pending[number] = why
            if number not in self.versions.available:
                good.discard(number)
        self.versions.pending = pending
        if not self.versions.available and not self._stopping:
            self.versions.refusal = NOT_LOADED

    def _wanted(self, numbers: Collection[int]) -> set[int]:
        return wanted_of(numbers, self._policy, self.versions.labels)

    async def _ensure(self, number: int) -> str | None:
        """Load a version unless it is loaded, or is known not to load.

        Returns:
            Why it is not time to load it yet, if it is not.
        """
        found = await self._inspect(number)
        if found is None or found.mark in (
            self._loaded.get(number, NEVER),
            self._refused.get(number, NEVER),
        ):
            return None
        settled = self._first or self._seen.get(number, NEVER) == found.mark
        self._seen[number] = found.mark
        if found.unfinished is not None:
            if self._first:
                error = InvalidModel(f"{found.place}: {found.unfinished}")
                self._take_note(number, Failure(error))
            return found.unfinished
        if not settled:
            return "its files have just changed"
        await self._load(number, found)
        return None

    async def _inspect(self, number: int) -> Found | None:
        try:
            return await self._source.inspect(number)
        except Exception:
            self._take_note(number, Failure())
            return None

    async def _load(self, number: int, found: Found) -> None:
        """Load a version and publish it; what it replaces ends."""
        servable = self._loader.servable(self.versions.name, number, found)
        self._loading = servable
        self.versions.add(servable)
        try:
            await self._loader.load(servable, found)
        except Exception:
            self._refused[number] = found.mark
            self.versions.drop(servable)
            self.versions.failures[number] = servable.failure or NOT_LOADED
            self._take_note(number, Failure())
            return
        finally:
            self._loading = None
        if servable.state is not State.AVAILABLE:
            await servable.end()
            return
        self._loaded[number] = found.mark
        self._whys.pop(number, None)
        old = self.versions.publish(servable)
        if not self._first:
            self._tell("{model}: version {version} is available", number)
        if old is not None:
            self._end(old)

    # Out

    def _retire_unwanted(self, numbers: set[int]) -> None:
        """End what is not wanted any more, but never the last version."""
        available = self.versions.available
        kept = self._wanted(available.keys() & numbers) & available.keys()
        if not kept:
            kept = {max(available)} if available else set()
        for number in available.keys() - kept:
            self._loaded.pop(number, None)
            servable = self.versions.withdraw(number)
            assert servable is not None
            self._end(servable)

    def _end(self, servable: Servable) -> None:
        ending = Deferred.fromCoroutine(servable.end())
        self._ending.add(ending)

        def ended(result: object) -> None:
            self._ending.discard(ending)
            self.versions.drop(servable)
            if isinstance(result, Failure):
                self.log.failure("A model could not be closed", result)
            elif not self._stopping:
                self._tell("{model}: version {version} has ended", servable.number)

        ending.addBoth(ended)

    # Told

    def _note_missing(self, numbers: set[int]) -> None:
        """Forget the failures of versions that are gone, and name what is missing."""
        missing = self._policy.missing(numbers)
        missing |= set(self.versions.labels.values()) - numbers
        for number in self._whys.keys() - numbers - missing:
            del self._whys[number]
            self._refused.pop(number, None)
            self.versions.failures.pop(number, None)
        for number in missing:
            text = f"there is no version {number}; there is: {listed(numbers)}"
            self.versions.failures[number] = "it is not there"
            self._take_note(number, Failure(InvalidModel(text)))

    def _take_note(self, number: int, failure: Failure) -> None:
        """Remember a failure, and log it unless it is the same as before.

        Those of the first look are told by whoever waits for it, if nothing at
        all can be served.
        """
        why = failure.getErrorMessage()
        if self._first:
            self._errors[number] = failure
        elif self._whys.get(number) != why:
            self._log_failure(failure)
        self._whys[number] = why

    def _log_failure(self, failure: Failure) -> None:
        name = self.versions.name
        if failure.check(InvalidModel):
            why = failure.getErrorMessage()
            self.log.error("{model}: {why}", model=name, why=why)
        else:
            self.log.failure("{model} could not be loaded", failure, model=name)

    def _tell(self, text: str, number: int) -> None:
        self.log.info(text, model=self.versions.name, version=number)
