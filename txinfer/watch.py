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
from .failures import may_pass
from .loader import Loader
from .models import NOT_LOADED, Servable, State
from .notes import NO_VERSION, Notes
from .refused import RefusedVersions
from .registry import Versions
from .sources import Found, ISource
from .specs import VersionPolicy, listed, wanted_of

# A mark that no version has.
NEVER = object()


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
        # The marks of the versions: at the last look, as loaded.
        self._seen: dict[int, Hashable] = {}
        self._loaded: dict[int, Hashable] = {}
        self._refused = RefusedVersions(clock)
        self.notes = Notes(versions)
        # What somebody has said of versions, which goes before the policy.
        self._pinned: set[int] = set()
        self._held: set[int] = set()
        # Whether what is whole is loaded at once, though it may still change.
        self._eager = False
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
        self.notes.end_first_look()

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
            await self._look()

    # By hand

    async def load(self, number: int) -> None:
        """Load a version, whatever the policy says, and keep it.

        Raises:
            InvalidModel: it cannot be served, or is not there.
        """
        async with self._lock:
            self._held.discard(number)
            self._pinned.add(number)
            try:
                await self._force({number})
            except InvalidModel:
                self._pinned.discard(number)
                raise

    async def unload(self, number: int) -> None:
        """End a version, and do not load it again; others are loaded in its place
        if the policy says so. Returns when its calls are answered.
        """
        async with self._lock:
            self._pinned.discard(number)
            self._held.add(number)
            await self._look_eagerly()
        await gatherResults(self._ending)

    async def reload(self, number: int | None = None) -> None:
        """Load a version again, or all that are loaded, beside what is loaded.

        Raises:
            InvalidModel: one cannot be served; it goes on as it was.
        """
        async with self._lock:
            numbers = set(self.versions.available) if number is None else {number}
            await self._source.refresh()
            for it in numbers:
                self._loaded.pop(it, None)
            await self._force(numbers)

    async def label(self, label: str, number: int | None) -> None:
        """Have a label stand for a version, or for none.

        Raises:
            UnknownVersion, Unavailable: there is no such version to be had.
        """
        async with self._lock:
            if number is None:
                self.versions.labels.pop(label, None)
            else:
                self.versions.version(number)
                self.versions.labels[label] = number
            await self._look()

    async def _force(self, numbers: set[int]) -> None:
        """Load versions now, although they may have been refused before."""
        for number in numbers:
            self._refused.forget(number)
            self.notes.forget(number)
        await self._look_eagerly()
        for number in (NO_VERSION, *sorted(numbers, reverse=True)):
            why = self.notes.why(number) or self.versions.pending.get(number)
            if why is not None:
                raise InvalidModel(why)
        for number in numbers - self.versions.available.keys():
            raise InvalidModel(f"there is no version {number}")

    async def _look_eagerly(self) -> None:
        self._eager = True
        try:
            await self._look()
        finally:
            self._eager = False

    async def _look(self) -> None:
        try:
            numbers = set(await self._source.numbers())
        except Exception:
            self.notes.take(NO_VERSION, Failure())
            return
        self.notes.forget(NO_VERSION)
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
        free = set(numbers) - self._held
        pinned = self._pinned & free
        return pinned | wanted_of(free, self._policy, self.versions.labels)

    async def _ensure(self, number: int) -> str | None:
        """Load a version unless it is loaded, or is known not to load.

        Returns:
            Why it is not time to load it yet, if it is not.
        """
        found = await self._inspect(number)
        if found is None or self._refused.hold_off(number, found.mark):
            return None
        if found.mark == self._loaded.get(number, NEVER):
            self.notes.forget(number)
            return None
        quiet = self._seen.get(number, NEVER) == found.mark
        settled = self._first or quiet or self._eager
        self._seen[number] = found.mark
        if found.unfinished is not None:
            if self._first:
                error = InvalidModel(f"{found.place}: {found.unfinished}")
                self.notes.take(number, Failure(error))
            return found.unfinished
        if not settled:
            return "its files have just changed"
        await self._load(number, found)
        return None

    async def _inspect(self, number: int) -> Found | None:
        try:
            return await self._source.inspect(number)
        except Exception:
            self.notes.take(number, Failure(), "it cannot be read")
            return None

    async def _load(self, number: int, found: Found) -> None:
        """Load a version and publish it; what it replaces ends."""
        servable = self._loader.servable(self.versions.name, number, found)
        self._loading = servable
        self.versions.add(servable)
        try:
            await self._loader.load(servable, found)
        except Exception as error:
            self.versions.drop(servable)
            self.notes.take(number, Failure(), servable.failure or NOT_LOADED)
            self._refuse(number, found, may_pass(error))
            return
        finally:
            self._loading = None
        if servable.state is not State.AVAILABLE:
            await servable.end()
            return
        self._loaded[number] = found.mark
        self.notes.forget(number)
        old = self.versions.publish(servable)
        if not self._first:
            self._tell("{model}: version {version} is available", number)
        if old is not None:
            self._end(old)

    def _refuse(self, number: int, found: Found, passing: bool) -> None:
        """Hold off a version that did not load, for a while or until it is changed."""
        pause = self._refused.note(number, found.mark, passing)
        if pause is not None and self._poll_seconds and not self._stopping:
            text = f"{{model}}: version {{version}} is tried again in {pause:.0f} s"
            self._tell(text, number)

    # Out

    def _retire_unwanted(self, numbers: set[int]) -> None:
        """End what is not wanted any more, but never the last version."""
        available = self.versions.available
        kept = self._wanted(available.keys() & numbers) & available.keys()
        if not kept:
            left = available.keys() - self._held
            kept = {max(left)} if left else set()
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
        """Forget what went wrong with versions that are gone; name what is missing."""
        missing = self._policy.missing(numbers)
        missing |= set(self.versions.labels.values()) - numbers
        self.notes.forget_but(numbers | missing)
        self._refused.forget_but(numbers)
        for number in missing:
            text = f"there is no version {number}; there is: {listed(numbers)}"
            failure = Failure(InvalidModel(text))
            self.notes.take(number, failure, "it is not there")

    def _tell(self, text: str, number: int) -> None:
        self.log.info(text, model=self.versions.name, version=number)
