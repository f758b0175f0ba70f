"""The ways to run a loaded model's signatures, and which of them is the best.

What is compared, and how long that may take, is the matter of :mod:`.tune`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import attrs

from .frozen import MOST_OPTIMIZED
from .session import Opened, session_config
from .tune import (
    ONE_THREAD_SECONDS,
    Choice,
    Runner,
    SessionPolicy,
    Tuner,
    shortest,
    suffices,
)

#: The ways to run ops: see :meth:`txinfer.session.Opened.runner`. In the last each op
#: runs in that thread alone, too.
IN_POOL = "TensorFlow's threads"
IN_CALLER = "the calling thread"
IN_ONE = "one thread"

# Signatures named in a line of the log.
MOST_NAMED = 5


def fastest(sessions: Sequence[Opened], tuner: Tuner) -> int:
    """Which session is best at the first signature that can be measured.

    The first, if none is clearly better or there is no time to find out.
    """
    for name, ends in sessions[0].ends.items():
        if ends.stateful is None:
            ways = {
                str(number): partial(opened.runner, name, True)
                for number, opened in enumerate(sessions)
            }
            choice = tuner.choose(ends.signature, ways)
            if choice.seconds:
                return int(choice.name)
    return 0


def best_ways(opened: Opened, policy: SessionPolicy, tuner: Tuner) -> dict[str, Choice]:
    """For each signature the better of TensorFlow's threads and the caller's.

    Those for which no time is left are like most that were measured: signatures of a
    model are much alike.
    """
    choices = {}
    better = Counter((IN_POOL,))
    for name, ends in opened.ends.items():
        ways = {IN_POOL: partial(opened.runner, name, False)}
        if not policy.inter_threads and ends.stateful is None:
            ways[IN_CALLER] = partial(opened.runner, name, True)
            usual, _ = better.most_common(1)[0]
            ways = {usual: ways[usual], **ways}
        choices[name] = choice = tuner.choose(ends.signature, ways)
        if choice.seconds:
            better[choice.name] += 1
    return choices


def in_one_thread(
    opened: Opened, choices: Mapping[str, Choice], policy: SessionPolicy
) -> tuple[Opened, dict[str, Choice]] | None:
    """A session whose ops have no threads, and how signatures run in it.

    None if they are better with threads, or that is given, or is not quickly found
    out. It is if nothing is to be given to the session but the graph.
    """
    tuner = Tuner(policy.clock, ONE_THREAD_SECONDS)
    made = sum(choice.made for choice in choices.values())
    many = len(choices) > MOST_OPTIMIZED
    if many or not opened.is_bare or not tuner.has_time_for(made):
        return None
    if not policy.may_be_single():
        return None
    single = opened.again(session_config(attrs.evolve(policy, intra_threads=1)))
    try:
        found = _in_one_thread(single, choices, tuner)
    except BaseException:
        single.close()
        raise
    if found is None:
        single.close()
        return None
    return single, found


def _in_one_thread(
    single: Opened, choices: Mapping[str, Choice], tuner: Tuner
) -> dict[str, Choice] | None:
    """How signatures run without threads, if the first that can be measured may."""
    runners: dict[str, Runner] = {}
    for name, ends in single.ends.items():
        if ends.stateful is not None:
            continue
        runners[name] = single.runner(name, True)
        other = choices[name]
        ways = [other.run, runners[name]]
        times = tuner.times(ways, ends.signature)
        if not times:
            continue
        if not suffices(times):
            # Another process may have held up a run.
            times = shortest(times, tuner.times(ways, ends.signature))
        if not suffices(times):
            return None
        seconds = dict(zip([other.name, IN_ONE], times[0], strict=True))
        return {
            it: Choice(
                IN_ONE,
                runners[it] if it in runners else single.runner(it, True),
                seconds if it == name else {},
            )
            for it in single.ends
        }
    return None


def told(opened: Opened, choices: Mapping[str, Choice]) -> str:
    """What was chosen, in words; signatures alike are told of together."""
    groups: dict[str, list[str]] = {}
    for name, choice in choices.items():
        groups.setdefault(choice.name, []).append(name + _measured(choice))
    parts = [f"in {way} run {', '.join(_few(it))}" for way, it in groups.items()]
    return "; ".join([opened.how, *parts])


def _measured(choice: Choice) -> str:
    """How long a run of one row takes, in brackets, and how long elsewhere."""
    if not choice.seconds:
        return ""
    times = {way: f"{seconds * 1e6:.0f} µs" for way, seconds in choice.seconds.items()}
    own = times.pop(choice.name)
    return f" ({', '.join([own, *(f'{it} in {way}' for way, it in times.items())])})"


def _few(names: Sequence[str]) -> list[str]:
    """The first of many."""
    rest = len(names) - MOST_NAMED
    return [*names[:MOST_NAMED], f"{rest} more"] if rest > 0 else list(names)
