"""Calls from Python: the methods at one address, for programs that embed a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial

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


class Calls:
    """Calls to several models, for a class that has them.

    ``limits`` is what one call may hold.
    """

    limits: CallLimits

    def at(
        self,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> IPredictor:
        """See :class:`~txinfer.interfaces.IModels`."""
        raise NotImplementedError

    def url_source(self) -> IFetcher | None:
        """What fetches URL inputs; None if they are not taken."""
        raise NotImplementedError

    def predict(self, name: str, /, **inputs: object) -> Deferred[Tensors]:
        """Call a method, in the same batches as everybody else.

        Args:
            name: the signature's name.
            inputs: a value for each input: an array of the input's dtype and
                shape, or nested lists of numbers, booleans, ``str``, ``bytes``
                or ``{"url": …}``. Unless the signature says otherwise,
                dimension 0 counts rows. An array of the right dtype is not
                copied: leave it alone until the answer is there.

        Returns:
            A Deferred that fires with a dict from output name to array (strings
            as object arrays of ``bytes``; read-only), or fails with an
            :class:`~txinfer.errors.InferenceError`. Cancelling it takes the
            call out of the queue if it still waits.
        """
        return self.model().predict(name, **inputs)

    def model(
        self,
        name: str | None = None,
        *,
        version: int | None = None,
        label: str | None = None,
    ) -> Caller:
        """What calls a model, or one version of it, as :meth:`predict` does.

        Args:
            name: of the model; None for the first.
            version: the number of a version; None for the highest available.
            label: the label of a version.

        It may be kept. Its calls fail with an
        :class:`~txinfer.errors.InferenceError` while there is no such model.
        """
        find = partial(self.at, name, version, label)
        return Caller(find, self.url_source(), self.limits)

    def methods(self) -> list[IMethod]:
        """The first model's; see :class:`~txinfer.interfaces.IPredictor`."""
        return self.at().methods()

    def method(self, name: str) -> IMethod:
        """The first model's; see :class:`~txinfer.interfaces.IPredictor`."""
        return self.at().method(name)

    def lease(self, name: str) -> AbstractContextManager[IMethod]:
        """The first model's; see :class:`~txinfer.interfaces.IPredictor`."""
        return self.at().lease(name)
