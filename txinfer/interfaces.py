"""The promises between the floors of the package."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from .cost import Cost
from .observe import Labels, Load
from .tensors import Signature, Tensors
from .trace import Trace

T = TypeVar("T")


class IModel(Interface):
    """A loaded model: signatures that can be run, in any thread, blocking."""

    signatures: Mapping[str, Signature] = Attribute(
        "Every signature that can be served, by name."
    )
    refused: Mapping[str, str] = Attribute(
        "Signatures that cannot be served, by name, with the reason in words."
    )
    stateful: Mapping[str, str] = Attribute(
        "Signatures whose runs change the model's state, by name, with the "
        "reason in words. Such a run is not repeated and not joined."
    )

    def run(name: str, tensors: Tensors) -> Tensors:
        """Run one signature once; blocks.

        Args:
            name: a key of ``signatures``.
            tensors: an array for each input, of its dtype and admitted shape.

        Returns:
            An array for each output; strings as object arrays of ``bytes``.
            They are not to be written to: they may be the model's own memory.

        Raises:
            InputRefused: the model finds the values at fault.
            ModelFailed: the model broke down.
            BaseException: whatever else the runtime lets through.
        """

    def close() -> None:
        """Give back what the model holds. It is not run again."""


class IMethod(Interface):
    """One signature of one version of a model, as adapters see it."""

    name: str = Attribute("What it is called by.")
    labels: Labels = Attribute("What observers know it by.")
    signature: Signature = Attribute("Its inputs and outputs.")
    direct: str | None = Attribute(
        "Why its calls run one at a time, in words; None if they are batched."
    )

    reason: str = Attribute("Why its calls share runs, or why not, in words.")
    stateful: str | None = Attribute(
        "Why its runs change the model, in words; None if they do not."
    )
    cost: Cost = Attribute("What runs of it are known to take.")
    sample: Mapping[str, object] | None = Attribute(
        "JSON values, columns of one row, that it is likely to answer; None if "
        "it refused all that were made up."
    )

    def predict(
        tensors: Tensors,
        deadline: float | None = None,
        client: str = "",
        trace: Trace | None = None,
    ) -> Deferred[Tensors]:
        """Answer one call, sharing runs with others. Reactor thread only.

        Args:
            tensors: an array for each input, of its dtype and admitted shape.
            deadline: seconds on the reactor's clock (``IReactorTime.seconds``)
                by which the answer must be there; None for no deadline.
            client: who calls; clients share the batches fairly.
            trace: is told how long the call waited and ran.

        Returns:
            A Deferred that fires, once, with an array for each output, or
            fails with an :class:`~txinfer.errors.InferenceError`. Cancelling
            it takes a waiting call out of the queue, and drops the answer of
            one that runs.
        """

    def refuse_unread(deadline: float, client: str) -> int | None:
        """Refuse a call that would fail with ``NoTime`` whatever it holds.

        To be asked until ``cost.crowded_until``: then calls are turned away, which
        need not have been read. Observers are told, as of others.

        Args:
            deadline: seconds on the reactor's clock by which the answer must be there.
            client: who calls.

        Returns:
            In how many whole seconds it is worth to call again; None if the call is
            not refused, and should be read.
        """


class IPredictor(Interface):
    """Where adapters find methods."""

    def methods() -> list[IMethod]:
        """Every method, in the order in which the model lists them.

        Raises:
            Unavailable: no model is loaded now.
        """

    def method(name: str) -> IMethod:
        """The method of that name.

        Raises:
            UnknownMethod: there is none.
            Unavailable: no model is loaded now.
        """

    def lease(name: str) -> AbstractContextManager[IMethod]:
        """The method of that name, kept from being unloaded until the exit.

        Raises on entry what :meth:`method` raises.
        """


class IModels(Interface):
    """Where adapters find models."""

    def at(
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> IPredictor:
        """The model, or one version of it, at an address; to be used at once.

        Args:
            model: its name; None for the first.
            version: the number of a version; None for the highest available.
            label: the label of a version.

        Raises:
            UnknownModel, UnknownVersion, UnknownLabel: there is none.
            Unavailable: it is not to be had now.
        """

    def listing() -> list[dict[str, Any]]:
        """Each model with its labels, and with its versions and their states, in
        JSON's types and in words that any client may read.
        """


class IRunnable(Interface):
    """What the collector gathers calls for."""

    labels: Labels = Attribute("What observers know it by.")
    direct: str | None = Attribute(
        "Why calls must not share a run, in words; None if they may."
    )
    cost: Cost = Attribute("What runs of it are known to take.")

    def run(tensors: Tensors) -> Tensors:
        """Run once; blocks, in any thread. Raises whatever goes wrong."""

    def key(tensors: Tensors) -> Hashable:
        """What two calls must agree in to share a run: method, inner shapes, dtypes.

        Asked for every call, so it has to be cheap.
        """

    def serve_directly(why: str) -> None:
        """Take note that calls must not share a run from now on."""


class IThreads(Interface):
    """Where blocking functions are called."""

    size: int = Attribute("How many of them run at once.")

    def grow() -> None:
        """Let one more run at once: one of those that run does not come back."""

    def shrink() -> None:
        """Let one less run at once: it is back after all."""

    def run(blocking: Callable[..., T], *args: object) -> Deferred[T]:
        """Call it in a thread; the Deferred fires in the reactor thread."""

    def call(
        done: Callable[[T | Failure, float], None],
        blocking: Callable[..., T],
        *args: object,
    ) -> None:
        """Call it in a thread, and then, in the reactor thread, ``done``.

        Args:
            done: called, later, with what the function returned, or a Failure
                of whatever it raised, and the seconds that it took.
            blocking: the function.
            args: its arguments.
        """


class IFetcher(Interface):
    """Where the bodies of URL inputs come from."""

    def fetch(
        urls: Sequence[str], client: str = "", most: int | None = None
    ) -> Deferred[list[bytes]]:
        """Fetch all the URLs of a request, none of which is there twice.

        Args:
            urls: what is wanted; at least one.
            client: for whom; clients take turns.
            most: how many bytes all bodies may have together.

        Returns:
            A Deferred that fires with the whole bodies, in the order of the
            URLs, or fails with :class:`~txinfer.errors.FetchFailed`, which has
            the ``position`` of a URL that could not be fetched, or with an
            :class:`~txinfer.errors.InferenceError`. Cancelling it stops all
            fetches.
        """


class IStatus(Interface):
    """How a service is doing, for whoever operates it."""

    def load() -> Load | None:
        """How busy the session slots are; None while no model is served."""

    def unready() -> list[str]:
        """Why calls should not be sent here now, in words; nothing if they may."""
