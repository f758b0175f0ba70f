"""URL inputs: the holes that parsing leaves in the arrays of a request are filled.

All URLs of a request are fetched at the same time, each of them once, before
any of its calls is queued.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

import attrs
import numpy as np
from twisted.internet.defer import FirstError, gatherResults
from twisted.python.failure import Failure

from .errors import FetchFailed, InvalidInput
from .inputs import Inputs
from .interfaces import IFetcher
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


async def fill(inputs: Inputs, fetcher: IFetcher | None, most: int) -> Tensors:
    """Fetch what is missing from the arrays of a request that is one call.

    Args:
        inputs: the arrays, which are written to.
        fetcher: None takes no URLs.
        most: how many URLs a request may have; one that it has twice is two.

    Raises:
        InvalidInput: there are more, or URLs are not taken here, or one could
            not be fetched; the last always in the same words, so that nothing
            about a network can be learnt from them.
        Unavailable: so much is fetched already that there was no turn for it.
    """
    await _fetch_all(list(_holes(inputs, ())), fetcher, most)
    return _filled(inputs)


async def fill_each(
    calls: Sequence[Inputs], fetcher: IFetcher | None, most: int
) -> list[Tensors]:
    """Fetch what is missing from the arrays of a request of several calls.

    As :func:`fill`, but the index of an InvalidInput begins with the call's number.
    """
    holes = [h for number, call in enumerate(calls) for h in _holes(call, (number,))]
    await _fetch_all(holes, fetcher, most)
    return [_filled(call) for call in calls]


def _holes(inputs: Inputs, call: tuple[int, ...]) -> Iterator[_Hole]:
    for name, parsed in inputs.items():
        for position, url in parsed.urls:
            yield _Hole(url, call, name, parsed.array, position)


def _filled(inputs: Inputs) -> Tensors:
    return {name: parsed.array for name, parsed in inputs.items()}


async def _fetch_all(holes: list[_Hole], fetcher: IFetcher | None, most: int) -> None:
    if not holes:
        return
    if fetcher is None:
        raise holes[0].refused("URLs are not taken here")
    if len(holes) > most:
        raise holes[0].refused(f"more than {most} URLs in one request")
    wanted: dict[str, list[_Hole]] = {}
    for hole in holes:
        wanted.setdefault(hole.url, []).append(hole)
    fetches = [
        fetcher.fetch(url).addCallbacks(partial(_put, same), partial(_refuse, same[0]))
        for url, same in wanted.items()
    ]
    try:
        await gatherResults(fetches, consumeErrors=True)
    except FirstError as error:
        raise _cause(error) from None
    finally:
        # Those that are done do not mind; the others have become pointless.
        for fetch in fetches:
            fetch.cancel()


def _put(holes: list[_Hole], body: bytes) -> None:
    for hole in holes:
        hole.array.flat[hole.position] = body


def _refuse(hole: _Hole, failure: Failure) -> Failure:
    failure.trap(FetchFailed)
    return Failure(hole.failed())


def _cause(error: FirstError) -> BaseException:
    """What really failed."""
    return cast(BaseException, error.subFailure.value)
