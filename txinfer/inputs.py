"""A call's values to its tensors: names checked, values parsed, URLs fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import cast

import numpy as np
from twisted.internet.defer import FirstError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from .errors import FetchFailed, InvalidInput
from .interfaces import IFetcher
from .tensors import Array, Signature, Tensors
from .values import Parsed, conform, parse

log = Logger()

# More URLs than the largest usual batch in one request is somebody using the
# server to fetch for them.
MAX_URLS = 64

Inputs = Mapping[str, Parsed]

# Where a fetched body goes: the input's name, its array, the flat index.
Place = tuple[str, Array, int]


def parse_inputs(signature: Signature, values: Mapping[str, object]) -> Inputs:
    """JSON values, one for each input, as arrays.

    Raises:
        InvalidInput: naming what is missing, unknown or wrong, and where.
    """
    check_names(signature, values)
    specs = signature.inputs.items()
    return {name: parse(name, spec, values[name]) for name, spec in specs}


def conform_inputs(signature: Signature, values: Mapping[str, object]) -> Inputs:
    """Python values, numpy arrays among them, one for each input, as arrays.

    Raises:
        InvalidInput: naming what is missing, unknown or wrong, and where.
    """
    check_names(signature, values)
    specs = signature.inputs.items()
    return {name: conform(name, spec, values[name]) for name, spec in specs}


def check_names(
    signature: Signature, names: Iterable[str], index: tuple[int, ...] = ()
) -> None:
    """Raise InvalidInput unless the names are the inputs, all and only these."""
    given = set(names)
    known = ", ".join(signature.inputs) or "none"
    for name in signature.inputs:
        if name not in given:
            raise InvalidInput("missing", name, index)
    for name in given - signature.inputs.keys():
        raise InvalidInput(f"unknown; the inputs are: {known}", name, index)


async def fill(inputs: Inputs, fetcher: IFetcher | None) -> Tensors:
    """Fetch what is missing from the arrays, all at once, each URL once.

    Raises:
        InvalidInput: there are too many URLs, URLs are not taken here, or one
            could not be fetched; always in the same words, so that nothing
            about a network can be learnt from them. The log has the reason.
    """
    holes = [
        (url, (name, parsed.array, position))
        for name, parsed in inputs.items()
        for position, url in parsed.urls
    ]
    if holes:
        if fetcher is None:
            raise InvalidInput("URLs are not taken here", holes[0][1][0])
        if len(holes) > MAX_URLS:
            raise InvalidInput(f"more than {MAX_URLS} URLs in one call", holes[0][1][0])
        await _fetch_all(holes, fetcher)
    return {name: parsed.array for name, parsed in inputs.items()}


async def _fetch_all(holes: list[tuple[str, Place]], fetcher: IFetcher) -> None:
    wanted: dict[str, list[Place]] = {}
    for url, place in holes:
        wanted.setdefault(url, []).append(place)
    fetches = [
        fetcher.fetch(url).addCallbacks(
            partial(_put, places), partial(_refuse, places[0])
        )
        for url, places in wanted.items()
    ]
    try:
        await gatherResults(fetches, consumeErrors=True)
    except FirstError as error:
        raise _cause(error) from None
    finally:
        # Those that are done do not mind; the others have become pointless.
        for fetch in fetches:
            fetch.cancel()


def _cause(error: FirstError) -> BaseException:
    """What really failed."""
    return cast(BaseException, error.subFailure.value)


def _put(places: list[Place], body: bytes) -> None:
    for _, array, position in places:
        array.flat[position] = body


def _refuse(place: Place, failure: Failure) -> Failure:
    failure.trap(FetchFailed)
    log.info("{why}", why=failure.getErrorMessage())
    name, array, position = place
    index = np.unravel_index(position, array.shape) if array.shape else ()
    error = InvalidInput("the URL could not be fetched", name, tuple(map(int, index)))
    return Failure(error)
