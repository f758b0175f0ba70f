"""The calls that a version is tried with before anybody else may call it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import attrs
import numpy as np

from . import tfwarmup
from .errors import InferenceError, InvalidInput
from .inputs import conform_inputs, parse_inputs
from .interfaces import IMethod, IModel
from .leaves import Parsed
from .tensors import Array, Signature, Tensors, row_count
from .values import loads

#: Where a SavedModel keeps what is not TensorFlow's, and our own file in it.
EXTRA = "assets.extra"
NAME = "txinfer_warmup.json"

DEFAULT_METHOD = "serving_default"


class WarmUpFailed(Exception):
    """The calls that came with a model do not fit it; the text says which and why."""


@attrs.frozen
class TrialCall:
    """One call. ``given`` says that it came with the model, and so has to succeed."""

    method: str
    tensors: Tensors
    given: bool

    @property
    def text(self) -> str:
        """The call in words, for people who wait for it."""
        shapes = {name: array.shape for name, array in self.tensors.items()}
        rows = {shape[0] for shape in shapes.values() if shape}
        many = f", {rows.pop()} rows" if len(rows) == 1 else ""
        return f"{self.method}{many}"


def plan(
    folder: str | None, model: IModel, methods: Iterable[IMethod], sizes: Iterable[int]
) -> list[TrialCall]:
    """The calls to make, those that came with the model first. Blocks.

    Args:
        folder: where the model's files are, if it has any.
        model: is called.
        methods: all its methods.
        sizes: the rows that runs of batched methods will have.

    Returns:
        For each method the calls that came with the model; for others one that
        is made up, unless nothing that can be is known to be answered, or it
        writes state. Those of batched methods are there once for each size.

    Raises:
        WarmUpFailed: a file of calls cannot be read, or does not fit the model.
    """
    by_name = {method.name: method for method in methods}
    given = list(_given(folder, model))
    called = {call.method for call in given}
    made_up = [
        TrialCall(name, _tensors(parse_inputs(method.signature, method.sample)), False)
        for name, method in by_name.items()
        if name not in called and method.sample is not None and not method.stateful
    ]
    ordered = sorted(set(sizes))
    sized = (_sized(call, by_name[call.method], ordered) for call in given + made_up)
    return list(chain.from_iterable(sized))


def _sized(call: TrialCall, method: IMethod, sizes: list[int]) -> Iterator[TrialCall]:
    """A call with as many rows as each run will have; as it is, if not by rows."""
    if method.direct is not None or not sizes:
        yield call
        return
    rows = row_count(call.tensors)
    if not rows or any(len(array) != rows for array in call.tensors.values()):
        yield call  # and let it fail
        return
    for size in sizes:
        chosen = np.arange(size) % rows
        tensors = {name: array[chosen] for name, array in call.tensors.items()}
        yield TrialCall(call.method, tensors, call.given)


def _given(folder: str | None, model: IModel) -> Iterator[TrialCall]:
    """The calls that came with a model."""
    for name, read in ((NAME, _from_json), (tfwarmup.NAME, _from_logs)):
        path = os.path.join(folder or "", EXTRA, name)
        if folder is None or not os.path.exists(path):
            continue
        try:
            for method, tensors in read(path, model.signatures):
                if method in model.signatures:
                    yield TrialCall(method, tensors, True)
                elif method not in model.refused:
                    raise ValueError(f"there is no method '{method}'")
        except (ValueError, OSError, InferenceError) as error:
            raise WarmUpFailed(f"{EXTRA}/{name}: {error}") from error


Calls = Iterator[tuple[str, Tensors]]


def _from_json(path: str, signatures: Mapping[str, Signature]) -> Calls:
    """A list of calls, ``{"method": NAME, "inputs": {…columns…}}``."""
    with open(path, "rb") as file:
        calls: Any = loads(file.read())
    if not isinstance(calls, list):
        raise ValueError("it must be a list of calls")
    for number, call in enumerate(calls):
        if not isinstance(call, dict) or not isinstance(call.get("inputs"), dict):
            raise ValueError(f"[{number}] must be an object with inputs")
        method = str(call.get("method", DEFAULT_METHOD))
        if method in signatures:
            inputs = parse_inputs(signatures[method], call["inputs"])
            yield method, _tensors(inputs)
        else:
            yield method, {}


def _from_logs(path: str, signatures: Mapping[str, Signature]) -> Calls:
    for logged in tfwarmup.read(path):
        method = logged.method or DEFAULT_METHOD
        if method not in signatures:
            yield method, {}
            continue
        signature = signatures[method]
        arrays = _arrays(logged, signature)
        yield method, _tensors(conform_inputs(signature, arrays))


def _arrays(logged: tfwarmup.Logged, signature: Signature) -> Mapping[str, Array]:
    if logged.examples:
        (name, *others) = signature.inputs
        if others:
            raise ValueError(f"method '{logged.method}' does not take examples")
        rows = np.empty(len(logged.examples), object)
        rows[:] = logged.examples
        return {name: rows}
    from .tensorprotos import as_array

    return {name: as_array(message) for name, message in logged.tensors.items()}


def _tensors(inputs: Mapping[str, Parsed]) -> Tensors:
    """The arrays of inputs, once it is clear that nothing has to be fetched."""
    for name, parsed in inputs.items():
        if parsed.urls:
            raise InvalidInput("URLs are not taken in warm-up calls", name)
    return {name: parsed.array for name, parsed in inputs.items()}
