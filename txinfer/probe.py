"""Whether a method's rows are independent, found out by running it.

An unknown dimension 0 says that a method takes any number of rows, not that a
row's result is the same whoever shares the run. Before a method is batched it
is run on made-up rows alone, together and in another order.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from .madeup import ROWS, made_up, made_up_parts
from .tensors import Array, Signature, Tensors, split

Run = Callable[[Tensors], Tensors]

ORDER = [2, 0, 1]

# Kernels choose their algorithm by the batch's size, so equal rows may differ
# by rounding. Relative to the largest value of the output; by bytes a number.
TOLERANCE = {2: 3e-2, 4: 1e-3, 8: 1e-6}

SHOWN = "made-up rows have the same results alone, together and in another order"
BELIEVED = "the signature says so; no made-up rows were accepted to check it"


PARTS = "an input is in parts, as a ragged tensor is, which have rows of their own"


@attrs.frozen
class Finding:
    """Whether rows may share a run, and the evidence for it, in words.

    ``parts`` is a call that was answered although its inputs have not equally many
    rows; None if all inputs are to have the same.
    """

    independent: bool
    evidence: str
    parts: Tensors | None = None


def probe(run: Run, signature: Signature) -> Finding:
    """Find out whether the rows of a ``by_rows`` signature may share a run.

    Blocks for half a dozen runs of at most three rows, more if the first rows
    are refused.
    """
    loose = loose_output(signature)
    if loose is not None:
        return Finding(False, loose)
    for rows in made_up(signature):
        try:
            why = _compare(run, rows)
        except Exception:
            # The model may refuse what is made up, or break down on it.
            continue
        return Finding(why is None, why or SHOWN)
    for parts in made_up_parts(signature):
        try:
            run(parts)
        except Exception:
            continue
        return Finding(False, PARTS, parts)
    return Finding(True, BELIEVED)


def loose_output(signature: Signature) -> str | None:
    """Which output's size may depend on all rows of a run, in words, if any.

    Where rows of unequal results are padded to the longest, no input has a size
    that the padded dimension could come from.
    """
    if any(None in spec.row_shape for spec in signature.inputs.values()):
        return None
    for name, spec in signature.outputs.items():
        if None in spec.row_shape:
            return f"the size of a row of output '{name}' may depend on other rows"
    return None


def _compare(run: Run, rows: Tensors) -> str | None:
    """Why these rows must not share a run; None if they show nothing against it."""
    together = run(rows)
    for name, array in together.items():
        if array.ndim == 0 or len(array) != ROWS:
            return f"output '{name}' has not one row for each row put in"
    if not _same(run(rows), together):
        return "two runs on equal rows differ"
    moved = run({name: array[ORDER] for name, array in rows.items()})
    alone = [run(row) for row in split(rows, [1] * ROWS)]
    if not _same(moved, {name: array[ORDER] for name, array in together.items()}):
        return "a row's result depends on its place among the others"
    if not all(map(_same, alone, split(together, [1] * ROWS))):
        return "a row's result depends on the rows it shares a run with"
    return None


def _same(left: Tensors, right: Tensors) -> bool:
    return all(_close(left[name], right[name]) for name in right)


def _close(left: Array, right: Array) -> bool:
    if left.shape != right.shape:
        return False
    if left.dtype.kind not in "fV":
        return bool((left == right).all())
    a, b = left.astype(np.float64), right.astype(np.float64)
    scale = float(np.max(np.abs(b), where=np.isfinite(b), initial=0.0))
    limit = TOLERANCE[left.dtype.itemsize] * scale
    return bool(np.allclose(a, b, rtol=0.0, atol=limit, equal_nan=True))
