"""Whether a method's rows are independent, found out by running it.

An unknown dimension 0 says that a method takes any number of rows, not that a
row's result is the same whoever shares the run. Before a method is batched it
is run on made-up rows alone, together and in another order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .tensors import Array, Signature, Tensors, TensorSpec, split

Run = Callable[[Tensors], Tensors]

ROWS = 3
ORDER = [2, 0, 1]

# Sizes tried for unknown inner dimensions: most graphs take the first, image
# graphs with many strides need more than their strides leave of it.
SIZES = (8, 128)

# Kernels choose their algorithm by the batch's size, so equal rows may differ
# by rounding. Relative to the largest value of the output; by bytes a number.
TOLERANCE = {2: 3e-2, 4: 1e-3, 8: 1e-6}


def dependence(run: Run, signature: Signature) -> str | None:
    """Why the rows of a ``by_rows`` signature must not share a run, in words.

    Blocks for half a dozen runs of at most three rows.

    Returns:
        None if they were shown to be independent, or if nothing could be
        shown: a string input cannot be made up, and the model may refuse
        what was, or break down on it.
    """
    if any(spec.type == "string" for spec in signature.inputs.values()):
        return None
    for size in SIZES:
        rows = made_up(signature, size)
        try:
            together = run(rows)
        except Exception:
            continue
        try:
            return _compare(run, rows, together)
        except Exception:
            return None
    return None


def made_up(signature: Signature, size: int) -> Tensors:
    """Three different rows for a signature without string inputs.

    The same values each time; ``size`` stands in for unknown inner dimensions.
    """
    random = np.random.default_rng(0)
    return {
        name: _made_up(spec, random, size) for name, spec in signature.inputs.items()
    }


def _made_up(spec: TensorSpec, random: np.random.Generator, size: int) -> Array:
    shape = (ROWS, *(size if n is None else n for n in spec.row_shape))
    if "float" in spec.type:
        return random.standard_normal(shape).astype(spec.dtype)
    if spec.type == "uint8":
        return random.integers(0, 256, shape).astype(spec.dtype)
    # 0 and 1 are in the range of nearly every vocabulary. No two neighbours
    # are equal even if a row is a single number.
    numbers = random.integers(0, 2, shape)
    numbers[:, ...] += np.arange(ROWS).reshape(-1, *[1] * (len(shape) - 1))
    return (numbers % 2).astype(spec.dtype)


def _compare(run: Run, rows: Tensors, together: Tensors) -> str | None:
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
