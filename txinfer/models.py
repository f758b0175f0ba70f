"""One loaded version of a model, from its loading to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from .collector import Collector
from .errors import Unavailable, UnknownMethod
from .interfaces import IMethod, IModel, IPredictor, IThreads
from .methods import NO_LABELS, Method, examine
from .observe import NOBODY, IObserver, Labels

LOADING = "the model is still loading"
CLOSING = "the server is shutting down"
NOT_LOADED = "the model is not loaded; the log says why"


# Calls methods by their names; fails if the model must not be served.
WarmUp = Callable[[IModel, Mapping[str, Method]], Awaitable[None]]


class State(Enum):
    """The life of a servable, in TensorFlow Serving's words."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


# The state in which methods are called: a member of an Enum takes long to look up
# (see :mod:`.ends`).
AVAILABLE = State.AVAILABLE

# What a call is told that comes when none can be taken.
REFUSALS = {
    State.START: LOADING,
    State.LOADING: LOADING,
    State.UNLOADING: CLOSING,
    State.END: NOT_LOADED,
}


class Lease:
    """A method whose servable is not closed before the ``with`` block is left."""

    __slots__ = ("_method", "_servable")

    def __init__(self, servable: Servable, method: Method) -> None:
        self._servable = servable
        self._method = method

    def __enter__(self) -> IMethod:
        self._servable.leases += 1
        return self._method

    def __exit__(self, *_: object) -> None:
        self._servable.give_back()


@implementer(IPredictor)
class Servable:
    """One version of a model from loading to its end.

    Args:
        load: loads the model; blocks, and is called in a thread.
        discard: removes what loading left behind, at the end; likewise.
        pads: sizes, in order, to one of which runs of rows are filled up.
        threads: where to load it, and to find out about its methods.
        collector: gathers the calls of all methods.
        labels: what observers know it by.
        observer: is told of each state.

    ``state`` says where in its life it is, ``leases`` how many calls are under
    way. ``failure`` is in words that any client may read; the log has the rest.
    """

    log = Logger()

    def __init__(
        self,
        load: Callable[[], IModel],
        threads: IThreads,
        collector: Collector,
        labels: Labels = NO_LABELS,
        observer: IObserver = NOBODY,
        discard: Callable[[], None] | None = None,
        pads: Sequence[int] = (),
    ) -> None:
        self.labels = labels
        self.leases = 0
        self.failure: str | None = None
        self._load = load
        self._discard = discard
        self._pads = pads
        self._threads = threads
        self._collector = collector
        self._observer = observer
        self._model: IModel | None = None
        self._methods: dict[str, Method] = {}
        self._returned: Deferred[None] | None = None
        self._enter(State.START)

    @property
    def number(self) -> int:
        """The version."""
        return self.labels.version

    async def load(self, warm_up: WarmUp | None = None) -> None:
        """Load the model and find out which methods can be batched.

        Args:
            warm_up: tries the model with its methods, before anybody may call it.

        Raises:
            InvalidModel: the model cannot be served.
        """
        self._enter(State.LOADING)
        doing = "it could not be loaded"
        try:
            await self._load_methods()
            doing = "its warm-up failed"
            if warm_up is not None and self._model is not None:
                await warm_up(self._model, self._methods)
        except BaseException:
            self.failure = doing
            await self.close()
            raise
        if self.state is State.LOADING:
            self._enter(State.AVAILABLE)

    async def _load_methods(self) -> None:
        model = self._model = await self._threads.run(self._load)
        for name, why in model.refused.items():
            self.log.warn("Signature {name} is not served: {why}", name=name, why=why)
        for name in model.signatures:
            if self.state is not State.LOADING:
                return  # retired meanwhile
            self._methods[name] = await self._threads.run(
                examine, name, model, self._collector, self.labels, self._pads
            )

    def methods(self) -> list[IMethod]:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        self._check_available()
        return list(self._methods.values())

    def method(self, name: str) -> Method:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        if self.state is not AVAILABLE:
            raise Unavailable(REFUSALS[self.state])
        method = self._methods.get(name)
        if method is None:
            raise UnknownMethod(name, list(self._methods))
        return method

    def names(self) -> list[str]:
        """The names of all methods, whether they are to be had now or not."""
        return list(self._methods)

    def lease(self, name: str) -> AbstractContextManager[IMethod]:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        return Lease(self, self.method(name))

    def give_back(self) -> None:
        """Return one lease."""
        self.leases -= 1
        returned = self._returned
        if not self.leases and returned is not None and not returned.called:
            returned.callback(None)

    def retire(self) -> Deferred[None]:
        """Hand out no more methods.

        Returns:
            A Deferred that fires with None when all leases are returned.
        """
        self._enter(State.UNLOADING)
        self._returned = Deferred()
        if not self.leases:
            self._returned.callback(None)
        return self._returned

    async def end(self) -> None:
        """Answer the calls that were taken, then give back what the model holds.

        Callers who are gone have returned their leases, but what they asked for
        may still run; hence both are waited for.
        """
        await self.retire()
        methods = set(self._methods.values())
        await self._collector.drained(methods)
        if self._collector.hangs(methods):
            # Nothing is taken away from under a run.
            self._model = None
        await self.close()

    def close(self) -> Deferred[None]:
        """Give back what the model holds, once nothing runs any more.

        Returns:
            A Deferred that fires with None when that is done.
        """
        self._enter(State.END)
        for method in self._methods.values():
            method.close()
        model, self._model = self._model, None
        self._methods = {}
        if model is None and self._discard is None:
            return succeed(None)
        return self._threads.run(_free, model, self._discard)

    def _check_available(self) -> None:
        if self.state is not State.AVAILABLE:
            raise Unavailable(REFUSALS[self.state])

    def _enter(self, state: State) -> None:
        self.state = state
        self._observer.became(self.labels, state.value)


def _free(model: IModel | None, discard: Callable[[], None] | None) -> None:
    """Close a model, then remove its files. Blocks."""
    try:
        if model is not None:
            model.close()
    finally:
        if discard is not None:
            discard()
