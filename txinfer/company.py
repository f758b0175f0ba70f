"""Whether those who call come together, so that a run should see who comes.

Programs that are answered call again at once. If the next run leaves with whoever
waits already, the others wait for it and leave with the one after that, while those
whom it answers wait in turn, and so on: two runs of what could be one. So where a
run saves more than reading and answering everybody takes, one that is not full
leaves at the end of a turn of the reactor's in which nobody came, and nothing of a
body. Nothing waits for anybody who is not there.
"""

from __future__ import annotations

import attrs

# Weight of a new value in what is known: about the last ten count.
WEIGHT = 0.1


@attrs.define(eq=False)
class Company:
    """What is known of those who call a method, from the runs that came back.

    ``worth`` is for how many seconds a run should see who comes, 0 for not at all;
    ``call_seconds`` is what a call takes the reactor, to read it and to answer it.
    """

    worth: float = 0.0
    call_seconds: float = 0.0

    def learn(self, calls: int, saved: float) -> None:
        """Take note of a run that came back.

        Args:
            calls: how many were in it and wait, at most.
            saved: what is saved, in seconds, if one of them does not run alone.
        """
        pays = calls > 1 and saved > calls * self.call_seconds
        self.worth = saved if pays else 0.0

    def learn_call(self, seconds: float) -> None:
        """Take note of what a call took the reactor."""
        known = self.call_seconds or seconds
        self.call_seconds = known + WEIGHT * (seconds - known)
