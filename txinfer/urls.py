"""URL inputs: the holes that parsing leaves in the arrays of a request are filled.

All URLs of a request are fetched at the same time, each of them once, before
any of its calls is queued.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

import attrs
import numpy as np

from .errors import FetchFailed, InvalidInput
from .inputs import Inputs
from .interfaces import IFetcher
from .limits import CallLimits
from .tensors import Array, Tensors


@attrs.frozen(eq=False)
class _Hole:
    """Where a fetched body goes: into ``array.flat[position]``.

    ``call`` is the number of the call in its request, or nothing if it is alone.
    """

    url: str
    call: tuple[int, ...]
    name: str
    array: Array
    position: int

    def refused(self, why: str) -> InvalidInput:
        return InvalidInput(why, self.name, self.call)

    def failed(self) -> InvalidInput:
        shape = self.array.shape
        index = np.unravel_index(self.position, shape) if shape else ()
        place = (*self.call, *map(int, index))
        return InvalidInput("the URL could not be fetched", self.name, place)


async def fill(
    inputs: Inputs, fetcher: IFetcher | None, limits: CallLimits, client: str = ""
) -> Tensors:
    """Fetch what is missing from the arrays of a request that is one call.

    Args:
        inputs: the arrays, which are written to.
        fetcher: None takes no URLs.
        limits: how many URLs a request may have; one that it has twice is two.
        client: for whom; clients take turns.

    Raises:
        InvalidInput: there are more, or URLs are not taken here, or one could
            not be fetched; the last always in the same words and after the same
            time, so that nothing about a network can be learnt from it.
        InferenceError: so much is fetched already that there is no room for it.
    """
    await _fetch_all(_holes(inputs, ()), fetcher, limits, client)
    return _filled(inputs)


async def fill_each(
    calls: Sequence[Inputs],
    fetcher: IFetcher | None,
    limits: CallLimits,
    client: str = "",
) -> list[Tensors]:
    """Fetch what is missing from the arrays of a request of several calls.

    As :func:`fill`, but the index of an InvalidInput begins with the call's number.
    """
    each = (_holes(call, (number,)) for number, call in enumerate(calls))
    holes = chain.from_iterable(each)
    await _fetch_all(holes, fetcher, limits, client)
    return [_filled(call) for call in calls]


def _holes(inputs: Inputs, call: tuple[int, ...]) -> Iterator[_Hole]:
    for name, parsed in inputs.items():
        for position, url in parsed.urls:
            yield _Hole(url, call, name, parsed.array, position)


def _filled(inputs: Inputs) -> Tensors:
    return {name: parsed.array for name, parsed in inputs.items()}


async def _fetch_all(
    found: Iterator[_Hole], fetcher: IFetcher | None, limits: CallLimits, client: str
) -> None:
    # There may be a hundred thousand where ten are taken.
    holes = list(islice(found, limits.url_count + 1))
    if not holes:
        return
    if fetcher is None:
        raise holes[0].refused("URLs are not taken here")
    if len(holes) > limits.url_count:
        why = f"more than {limits.url_count} URLs in one request"
        raise holes[0].refused(why)
    wanted: dict[str, list[_Hole]] = {}
    for hole in holes:
        wanted.setdefault(hole.url, []).append(hole)
    places = list(wanted.values())
    try:
        bodies = await fetcher.fetch(list(wanted), client, limits.tensor_size)
    except FetchFailed as error:
        raise places[error.position][0].failed() from None
    for same, body in zip(places, bodies, strict=True):
        for hole in same:
            hole.array.flat[hole.position] = body
