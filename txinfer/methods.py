"""The signatures of a loaded model, as methods that callers share."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from .calls import RowsLost
from .collector import Collector
from .cost import Cost
from .errors import InvalidInput, Unavailable
from .interfaces import IMethod, IModel, IRunnable
from .observe import Labels
from .probe import Finding, probe
from .sample import Values, find_sample, listed, made_up
from .tensors import Signature, Tensors, pad, row_count
from .trace import Trace

NO_LABELS = Labels()


@implementer(IMethod, IRunnable)
class Method:
    """One signature of a loaded model, its calls gathered by a collector.

    ``direct`` is None while its calls share runs, else the reason why not;
    ``reason`` tells why in either case; ``sample`` holds columns of one row
    that it was seen to answer, if there are any. Runs of rows are filled up to
    one of the sizes ``pads``, if there are any, which are in order.
    """

    def __init__(
        self,
        name: str,
        model: IModel,
        collector: Collector,
        finding: Finding,
        sample: Values | None,
        labels: Labels = NO_LABELS,
        pads: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.labels = labels._replace(method=name)
        self.signature: Signature = model.signatures[name]
        self.direct = None if finding.independent else finding.evidence
        self.reason = finding.evidence
        self.sample = sample
        self.stateful = model.stateful.get(name)
        self.cost = Cost()
        if self.stateful is not None:
            # What two runs at once would write, nobody knows.
            self.cost.overlap.forbid()
        self._model = model
        self._collector = collector
        self._closed = False
        self._pads = pads
        self._by_rows = self.signature.by_rows and finding.parts is None
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
        if self._closed:
            return fail(Unavailable("this version of the model is unloaded"))
        if self._by_rows:
            rows = row_count(tensors)
            if not rows or (len(tensors) > 1 and _differ(tensors)):
                return fail(wrong_rows(tensors))
        return self._collector.submit(self, tensors, deadline, client, trace)

    def refuse_unread(self, deadline: float, client: str) -> int | None:
        """See :class:`~txinfer.interfaces.IMethod`."""
        return self._collector.refuse_unread(self, deadline, client)

    def run(self, tensors: Tensors) -> Tensors:
        """Run the model once; blocks, in a model thread.

        Raises:
            RowsLost: it was filled up, and the outputs are not to be cut.
        """
        if self._pads and self.direct is None:
            rows = row_count(tensors)
            size = next((size for size in self._pads if size >= rows), rows)
            if size > rows:
                padded = pad(tensors, size - rows)
                return _cut(self._model.run(self.name, padded), rows, size)
        return self._model.run(self.name, tensors)

    def serve_directly(self, why: str) -> None:
        """Run calls one at a time from now on."""
        self.direct = self.reason = why

    def close(self) -> None:
        """Refuse calls: the model is about to be closed, and nobody has a lease."""
        self._closed = True

    def key(self, tensors: Tensors) -> Hashable:
        """See :class:`~txinfer.interfaces.IRunnable`; dtypes are the signature's."""
        if not self._loose:
            return self
        return (self, *[tensors[name].shape[1:] for name in self._loose])


def _differ(tensors: Tensors) -> bool:
    """Whether inputs have not equally many rows."""
    return len({len(array) for array in tensors.values()}) > 1


def wrong_rows(tensors: Tensors) -> InvalidInput:
    """What is wrong with inputs that have no rows, or not equally many."""
    (first, array), *others = tensors.items()
    for name, other in others:
        if len(other) != len(array):
            why = f"{len(other)} rows, but input '{first}' has {len(array)}"
            return InvalidInput(why, name)
    return InvalidInput("at least one row is needed", first)


def _cut(outputs: Tensors, rows: int, size: int) -> Tensors:
    """The first rows of outputs that must have ``size``."""
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != size:
            raise RowsLost(f"output '{name}' had not one row for each row put in")
    return {name: array[:rows] for name, array in outputs.items()}


def examine(
    name: str,
    model: IModel,
    collector: Collector,
    labels: Labels = NO_LABELS,
    pads: Sequence[int] = (),
) -> Method:
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
        finding = Finding(False, stateful)
        return Method(name, model, collector, finding, sample, labels, pads)
    fixed = signature.why_not_by_rows()
    finding = Finding(False, fixed) if fixed else probe(run, signature)
    if finding.parts is not None:
        return Method(name, model, collector, finding, listed(finding.parts), labels)
    sample = find_sample(run, signature)
    return Method(name, model, collector, finding, sample, labels, pads)
