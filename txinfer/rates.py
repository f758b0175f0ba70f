"""How often each client may ask."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

# Clients that are remembered: a few megabytes. Past it those are forgotten that
# have not asked for longest; a client that is forgotten has its whole burst again.
MAX_CLIENTS = 20_000

# Seconds. The reactor's clock counts from 1970, and a double resolves it no better.
RESOLUTION = 1e-6


class RateLimiter:
    """A token bucket for each client, kept as the time at which it is full again.

    (The generic cell rate algorithm: ITU-T I.371, annex A.) A bucket that is full
    is as good as none, so that only clients that asked lately take up memory.

    Args:
        clock: what time it is.
        per_second: the requests a second that a client may make in the long run.
        burst: the requests that it may make at once.
        max_clients: how many clients are remembered.
    """

    def __init__(
        self,
        clock: IReactorTime,
        per_second: float,
        burst: int,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self._clock = clock
        self._interval = 1 / per_second
        self._depth = (burst - 1) * self._interval
        self._max_clients = max_clients
        # Who asked last is last. (A dict would have to look for its first item.)
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str) -> float:
        """Take a token of a client.

        Returns:
            0 if there was one; else the seconds until there is, and nothing is
            taken: refused requests do not put off the next one.
        """
        now = self._clock.seconds()
        # A clock that was set back must not shut anybody out.
        most = self._depth + self._interval
        ahead = min(max(self._full_at.get(client, now) - now, 0.0), most)
        wait = ahead - self._depth
        if wait <= RESOLUTION:
            wait = 0.0
            ahead += self._interval
        self._full_at[client] = now + ahead
        self._full_at.move_to_end(client)
        self._forget(now)
        return wait

    def _forget(self, now: float) -> None:
        """Drop what is full at the head, and one that is not if there are too many.

        A call adds one at most, so dropping two at most is enough.
        """
        for _ in range(2):
            client, full_at = next(iter(self._full_at.items()))
            if full_at > now and len(self._full_at) <= self._max_clients:
                return
            del self._full_at[client]
