"""Calls from Python: the methods at one address, for programs that embed a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from twisted.internet.defer import Deferred
from zope.interface import implementer

from .inputs import conform_inputs
from .interfaces import IFetcher, IMethod, IPredictor
from .limits import CallLimits
from .tensors import Tensors
from .urls import fill


@implementer(IPredictor)
class Caller:
    """Calls the methods of a model, or of one version of it, while it is there.

    Args:
        find: gives the model or the version; asked anew for each call.
        fetcher: fetches URL inputs; None takes none.
        limits: what one call may hold.
    """

    def __init__(
        self,
        find: Callable[[], IPredictor],
        fetcher: IFetcher | None,
        limits: CallLimits,
    ) -> None:
        self._find = find
        self._fetcher = fetcher
        self._limits = limits

    def predict(self, name: str, /, **inputs: object) -> Deferred[Tensors]:
        """Call a method; see :meth:`txinfer.InferenceService.predict`."""
        return Deferred.fromCoroutine(self._predict(name, inputs))

    def methods(self) -> list[IMethod]:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        return self._find().methods()

    def method(self, name: str) -> IMethod:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        return self._find().method(name)

    def lease(self, name: str) -> AbstractContextManager[IMethod]:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        return self._find().lease(name)

    async def _predict(self, name: str, values: Mapping[str, object]) -> Tensors:
        with self.lease(name) as method:
            inputs = conform_inputs(method.signature, values)
            tensors = await fill(inputs, self._fetcher, self._limits)
            return await method.predict(tensors)
