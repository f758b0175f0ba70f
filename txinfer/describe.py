"""What a person is told when a model is ready, in lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from .interfaces import IMethod
from .probe import BELIEVED
from .protocols.native import DEFAULT_METHOD
from .tensors import TensorSpec
from .values import dumps

# A longer body does not fit on a screen; it is made by a few words of Python.
LONGEST_BODY = 600


def lines(
    methods: Iterable[IMethod], max_rows: int, curl: str, batch_transpose: bool
) -> Iterator[str]:
    """Each method with its tensors, how it is run, and a curl line for it.

    Args:
        methods: all that are served.
        max_rows: the largest batch.
        curl: the command up to the method's name, as ``curl http://host:1/``.
        batch_transpose: whether an object is always one example.
    """
    for method in methods:
        signature = method.signature
        yield (
            f"{method.name}: {_tensors(signature.inputs)}"
            f" -> {_tensors(signature.outputs)}"
        )
        if method.direct is None:
            doubt = f" ({method.reason})" if method.reason == BELIEVED else ""
            yield f"  batched, up to {max_rows} rows a run{doubt}"
        else:
            yield f"  one call a run: {method.reason}"
        yield f"  {curl_line(method, curl, batch_transpose)}"


def curl_line(method: IMethod, curl: str, batch_transpose: bool) -> str:
    """A shell command that calls the method with values it is likely to answer."""
    if method.sample is None:
        return "(no example: it refused all the values that were made up)"
    name = "" if method.name == DEFAULT_METHOD else quote(method.name)
    values = sample_values(method, method.sample, batch_transpose)
    body = dumps(values).decode()
    if len(body) <= LONGEST_BODY:
        return f"{curl}{name} -d {shlex.quote(body)}"
    program = f"import json; print(json.dumps({_python(values)}))"
    return f"python3 -c {shlex.quote(program)} | {curl}{name} -d @-"


def sample_values(
    method: IMethod, sample: Mapping[str, Any], batch_transpose: bool
) -> dict[str, Any]:
    """The JSON value of a request for one row."""
    if batch_transpose and method.signature.by_rows:
        return {name: value[0] for name, value in sample.items()}
    return dict(sample)


def _tensors(specs: Mapping[str, TensorSpec]) -> str:
    parts = [f"{name} {spec.type} {spec.shape_text()}" for name, spec in specs.items()]
    return ", ".join(parts) or "nothing"


def _python(value: object) -> str:
    """A Python expression for JSON values, short where all items are alike."""
    if isinstance(value, dict):
        items = (f"{key!r}: {_python(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list) and value and len(value) > 1:
        return f"[{_python(value[0])}] * {len(value)}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_python, value)) + "]"
    return repr(value)
