"""Whether a server that is told to end loses a request that it has accepted.

    python -m benchmarks.sigterm                      # 50 times each: ten minutes
    python -m benchmarks.sigterm -k device -n 5

Servers are started, loaded and told to end (SIGTERM) at a random moment. Their
clients keep connections, some busy and some often idle, or make a new one for each
request. A request is accepted, and has to get its right answer, if

- it was sent on a kept connection until ``DRAIN_GRACE`` seconds after the signal
  (later, an idle connection may be closed just then; RFC 9112, section 9.3.1), or
- its new connection was made before the signal, or
- its new connection was made later and not reset: the system resets those that
  nobody has accepted when the port is closed.

The exit status is 1 if such a request has no right answer, if a server does not end
in time, or if it does not end well: with status 0, or as twistd by the signal.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

import attrs

from txinfer.site import DRAIN_GRACE

from . import known
from .arguments import described, takes_options
from .draining import Clients
from .process import Server
from .table import circumstances, table

# Seconds from the signal to the end: the grace, the runs that are under way and
# wait (a fraction of a second here), and a machine that has other things to do.
IN_TIME = DRAIN_GRACE + 5.0

# Seconds after which nobody waits any longer.
PATIENCE = 30.0

#: In which seconds after the first request the signal comes.
MOMENT = (0.05, 0.6)

ENDED_WELL = {0, -signal.SIGTERM}

# What a server says when something was forgotten.
BROKEN = re.compile("Traceback|Unhandled", re.I)


#: ``device`` is up in a second; ``tensorflow`` is what everybody runs.
KINDS = {"device": known.sleepy(5, 0.5), "tensorflow": known.affine}


@attrs.frozen
class Life:
    """One server, from its first request to its end.

    ``after`` counts the answers that came after the signal, ``seconds`` is how long
    it took from there to the end of the process, or None if it did not end.
    """

    answered: int
    after: int
    lost: list[str]
    seconds: float | None
    status: int | None
    said: list[str]


async def live(server: Server, moment: float) -> Life:
    """Load a server, tell it to end, and see what becomes of all."""
    clients = Clients(server.port)
    clients.start()
    await asyncio.sleep(moment)
    clients.come_all_at_once()
    clients.told = told = time.monotonic()
    server.tell_to_end()
    await clients.end(PATIENCE)
    while server.status() is None and time.monotonic() < told + PATIENCE:
        await asyncio.sleep(0.005)
    status = server.status()
    seconds = None if status is None else time.monotonic() - told
    said = BROKEN.findall(server.log())
    answered, after = len(clients.answered), sum(at > told for at in clients.answered)
    return Life(answered, after, clients.lost, seconds, status, said)


def lives(kind: str, chosen: argparse.Namespace) -> list[Life]:
    """Start a server so many times, and end it."""
    moments = random.Random(chosen.seed)
    found = []
    for _ in range(chosen.times):
        with known.serving(KINDS[kind], chosen.options) as server:
            found.append(asyncio.run(live(server, moments.uniform(*MOMENT))))
        print("." if not found[-1].lost else "!", end="", file=sys.stderr, flush=True)
    return found


HEADS = (
    *("model", "times", "answered", "after SIGTERM", "lost", "s to the end, p50"),
    *("max", "statuses"),
)


def line(kind: str, found: Sequence[Life]) -> list[str]:
    """What is told of all lives of a kind."""
    seconds = [PATIENCE if it.seconds is None else it.seconds for it in found]
    statuses = Counter(it.status for it in found)
    return [
        kind,
        str(len(found)),
        f"{sum(it.answered for it in found):,}",
        f"{sum(it.after for it in found):,}",
        str(sum(len(it.lost) for it in found)),
        f"{median(seconds):.2f}",
        f"{max(seconds):.2f}",
        ", ".join(f"{count} × {status}" for status, count in statuses.items()),
    ]


def wrongs(kind: str, found: Sequence[Life]) -> Iterator[str]:
    """What is not as promised."""
    for number, it in enumerate(found):
        where = f"{kind}, server {number}"
        for text, count in Counter(it.lost).items():
            yield f"{where}: lost {count} × {text}"
        if it.seconds is None or it.seconds > IN_TIME:
            yield f"{where}: it took {it.seconds} s to end"
        elif it.status not in ENDED_WELL:
            yield f"{where}: it ended with status {it.status}"
        if it.said:
            yield f"{where}: its log has {it.said}"
    if not sum(it.after for it in found):
        yield f"{kind}: nothing was under way"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = described(__doc__)
    add = parser.add_argument
    add("-k", "--kinds", choices=KINDS, action="append", help="both by default")
    add("-n", "--times", type=int, default=50, help="servers of each kind")
    add("--seed", type=int, default=1, help="of the random moments")
    takes_options(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """End as many servers as the command line says."""
    chosen = parse()
    found = {kind: lives(kind, chosen) for kind in chosen.kinds or KINDS}
    print(file=sys.stderr)
    print(circumstances(("twisted",)))
    print(f"\n{table(HEADS, [line(*it) for it in found.items()])}")
    wrong = [text for it in found.items() for text in wrongs(*it)]
    print("\n".join(["", *wrong]) if wrong else "\nall as promised")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
