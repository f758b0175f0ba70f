"""A loaded model and its methods, as callers see them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from enum import Enum

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from .collector import Collector
from .errors import InvalidInput, Unavailable, UnknownMethod
from .interfaces import IMethod, IModel, IPredictor, IRunnable, IThreads
from .observe import Labels
from .probe import Finding, probe
from .sample import Values, find_sample, made_up
from .tensors import Signature, Tensors
from .trace import Trace


class State(Enum):
    """The life of a servable, in TensorFlow Serving's words."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


@implementer(IMethod, IRunnable)
class Method:
    """One signature of a loaded model, its calls gathered by a collector.

    ``direct`` is None while its calls share runs, else the reason why not;
    ``reason`` tells why in either case; ``sample`` holds columns of one row
    that it was seen to answer, if there are any.
    """

    def __init__(
        self,
        name: str,
        model: IModel,
        collector: Collector,
        finding: Finding,
        sample: Values | None,
    ) -> None:
        self.name = name
        self.labels = Labels(method=name)
        self.signature: Signature = model.signatures[name]
        self.direct = None if finding.independent else finding.evidence
        self.reason = finding.evidence
        self.sample = sample
        self._model = model
        self._collector = collector
        self._by_rows = self.signature.by_rows
        # Inputs whose rows may differ in shape from call to call.
        self._loose = tuple(
            name
            for name, spec in self.signature.inputs.items()
            if spec.shape is None or None in spec.shape[1:]
        )

    def predict(
        self,
        tensors: Tensors,
        deadline: float | None = None,
        client: str = "",
        trace: Trace | None = None,
    ) -> Deferred[Tensors]:
        """See :class:`~txinfer.interfaces.IMethod`."""
        if self._by_rows:
            rows = {len(array) for array in tensors.values()}
            if len(rows) > 1 or 0 in rows:
                return fail(wrong_rows(tensors))
        return self._collector.submit(self, tensors, deadline, client, trace)

    def run(self, tensors: Tensors) -> Tensors:
        """Run the model once; blocks, in a model thread."""
        return self._model.run(self.name, tensors)

    def serve_directly(self, why: str) -> None:
        """Run calls one at a time from now on."""
        self.direct = self.reason = why

    def key(self, tensors: Tensors) -> Hashable:
        """See :class:`~txinfer.interfaces.IRunnable`; dtypes are the signature's."""
        if not self._loose:
            return self
        return (self, *[tensors[name].shape[1:] for name in self._loose])


def wrong_rows(tensors: Tensors) -> InvalidInput:
    """What is wrong with inputs that have no rows, or not equally many."""
    (first, array), *others = tensors.items()
    for name, other in others:
        if len(other) != len(array):
            why = f"{len(other)} rows, but input '{first}' has {len(array)}"
            return InvalidInput(why, name)
    return InvalidInput("at least one row is needed", first)


def examine(name: str, model: IModel, collector: Collector) -> Method:
    """A signature as a method, once it is known how its calls can be run.

    Blocks while the model is run on made-up rows, unless the signature itself
    says that they cannot be joined. A signature that writes state is not run.
    """
    signature = model.signatures[name]
    stateful = model.stateful.get(name)

    def run(tensors: Tensors) -> Tensors:
        return model.run(name, tensors)

    if stateful is not None:
        # It is not tried: that would change the model before its first call.
        sample = next(made_up(signature), None)
        return Method(name, model, collector, Finding(False, stateful), sample)
    fixed = signature.why_not_by_rows()
    finding = Finding(False, fixed) if fixed else probe(run, signature)
    return Method(name, model, collector, finding, find_sample(run, signature))


@implementer(IPredictor)
class Servable:
    """One model from loading to its end.

    Args:
        load: loads the model; blocks, and is called in a model thread.
        threads: where to block.
        collector: gathers the calls of all methods.

    ``state`` says where in its life it is.
    """

    log = Logger()

    def __init__(
        self, load: Callable[[], IModel], threads: IThreads, collector: Collector
    ) -> None:
        self.state = State.START
        self._load = load
        self._threads = threads
        self._collector = collector
        self._model: IModel | None = None
        self._methods: dict[str, Method] = {}
        self._leases = 0
        self._returned: Deferred[None] | None = None

    async def load(self) -> None:
        """Load the model and find out which methods can be batched.

        Raises:
            InvalidModel: the model cannot be served.
        """
        self.state = State.LOADING
        try:
            await self._load_methods()
        except BaseException:
            self.state = State.END
            raise

    async def _load_methods(self) -> None:
        model = self._model = await self._threads.run(self._load)
        for name, why in model.refused.items():
            self.log.warn("Signature {name} is not served: {why}", name=name, why=why)
        for name in model.signatures:
            if self.state is not State.LOADING:
                return  # retired meanwhile
            self._methods[name] = await self._threads.run(
                examine, name, model, self._collector
            )
        if self.state is State.LOADING:
            self.state = State.AVAILABLE

    def methods(self) -> list[IMethod]:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        self._check_available()
        return list(self._methods.values())

    def method(self, name: str) -> IMethod:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        self._check_available()
        method = self._methods.get(name)
        if method is None:
            raise UnknownMethod(name, list(self._methods))
        return method

    def names(self) -> list[str]:
        """The names of all methods, whether they are to be had now or not."""
        return list(self._methods)

    @contextmanager
    def lease(self, name: str) -> Iterator[IMethod]:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        method = self.method(name)
        self._leases += 1
        try:
            yield method
        finally:
            self._leases -= 1
            if not self._leases and self._returned is not None:
                self._returned.callback(None)

    def retire(self) -> Deferred[None]:
        """Hand out no more methods.

        Returns:
            A Deferred that fires with None when all leases are returned.
        """
        self.state = State.UNLOADING
        self._returned = Deferred()
        if not self._leases:
            self._returned.callback(None)
        return self._returned

    def close(self) -> Deferred[None]:
        """Give back what the model holds, once nothing runs any more.

        Returns:
            A Deferred that fires with None when that is done.
        """
        self.state = State.END
        model, self._model = self._model, None
        self._methods = {}
        return succeed(None) if model is None else self._threads.run(model.close)

    def _check_available(self) -> None:
        if self.state in (State.START, State.LOADING):
            raise Unavailable("the model is still loading")
        if self.state is State.UNLOADING:
            raise Unavailable("the server is shutting down")
        if self.state is State.END:
            raise Unavailable("the model is not loaded; the log says why")
