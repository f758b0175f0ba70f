"""A SavedModel folder as an :class:`~txinfer.interfaces.IModel`.

A model is run in a session of its own: a call costs a third of what the
functions of ``tf.saved_model.load`` cost, or less. How it gets there is the
matter of ``frozen`` and ``original``; what neither can load, ``functions`` can.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np
import tensorflow as tf
from twisted.logger import Logger
from zope.interface import implementer

from . import layout
from .failures import as_failure, reason
from .frozen import MOST_OPTIMIZED, from_checkpoint, from_session
from .functions import Entry, load_entries
from .interfaces import IModel
from .memory import give_back
from .original import open_original
from .session import Opened, forget_constants, session_config
from .tensors import Array, Tensors
from .tune import (
    DEFAULT_SESSION,
    ONE_THREAD_SECONDS,
    Choice,
    Runner,
    SessionPolicy,
    Tuner,
    suffices,
)

log = Logger()

#: The ways to run ops: see :meth:`txinfer.session.Opened.runner`. In the last each op
#: runs in that thread alone, too.
IN_POOL = "TensorFlow's threads"
IN_CALLER = "the calling thread"
IN_ONE = "one thread"

# Signatures named in a line of the log.
MOST_NAMED = 5


@implementer(IModel)
class SavedModel:
    """A loaded SavedModel; see :class:`~txinfer.interfaces.IModel`.

    ``run`` may be called in several threads at once; ``close`` may not be
    called while it runs.
    """

    def __init__(
        self,
        entries: Mapping[str, Entry],
        refused: Mapping[str, str],
        close: Callable[[], None],
    ) -> None:
        self.signatures = {name: entry.signature for name, entry in entries.items()}
        self.refused = dict(refused)
        self.stateful = {
            name: entry.stateful for name, entry in entries.items() if entry.stateful
        }
        self._runners = {name: entry.run for name, entry in entries.items()}
        self._close = close

    def run(self, name: str, tensors: Tensors) -> Tensors:
        """Run one signature once; blocks."""
        signature = self.signatures[name]
        feeds = [tensors[input] for input in signature.inputs]
        try:
            values = self._runners[name](*feeds)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise as_failure(error) from error
        return {
            output: as_array(value, spec.dtype)
            for (output, spec), value in zip(
                signature.outputs.items(), values, strict=True
            )
        }

    def close(self) -> None:
        """Give back the session, or the functions, and the variables in it."""
        self._runners.clear()
        # What closes a session holds it, and so the variables in it.
        close, self._close = self._close, give_back
        close()
        del close
        give_back()


def load(
    path: str, tags: Sequence[str], policy: SessionPolicy = DEFAULT_SESSION
) -> SavedModel:
    """Load the graph of a SavedModel folder that has exactly these tags.

    Blocks, for seconds where the model is large; any thread may call.

    Args:
        path: the folder.
        tags: of the graph.
        policy: how it is to be run; what that leaves open is measured.

    Raises:
        InvalidModel: the folder cannot be loaded, or none of its signatures
            can be served; the text is one line saying why.
    """
    layout.check(path, tags)
    try:
        model = load_in_session(path, tags, policy)
    except Exception as first:
        try:
            model = load_functions(path, tags)
        except Exception:
            raise layout.invalid(path, reason(first)) from first
    # What loading took is more than what the model takes, by far.
    give_back()
    if not model.signatures:
        model.close()
        whys = "; ".join(f"{name}: {why}" for name, why in model.refused.items())
        raise layout.invalid(path, f"no signature can be served: {whys or 'none'}")
    return model


def load_in_session(
    path: str, tags: Sequence[str], policy: SessionPolicy = DEFAULT_SESSION
) -> SavedModel:
    """Load into a session of its own, in the way in which it runs best.

    Raises:
        Exception: whatever TensorFlow raises for a model it cannot load.
    """
    tuner = Tuner(policy.clock)
    opened = open_fastest(path, tags, policy, tuner)
    try:
        model, how = tuned(opened, policy, tuner)
    except BaseException:
        opened.close()
        raise
    log.info("{path}: {how}", path=path, how=how)
    return model


def tuned(
    opened: Opened, policy: SessionPolicy, tuner: Tuner
) -> tuple[SavedModel, str]:
    """The model of a session, each signature as it runs best, and how in words.

    The session is closed if another of the same graph is better.
    """
    choices: Mapping[str, Choice] = _choose(opened, policy, tuner)
    single = in_one_thread(opened, choices, policy)
    if single is not None:
        opened.close()
        opened, choices = single
    forget_constants(opened.session.graph)
    entries = {
        name: Entry(ends.signature, choices[name].run, ends.stateful)
        for name, ends in opened.ends.items()
    }
    model = SavedModel(entries, opened.refused, opened.close)
    return model, _told(opened, choices)


def open_fastest(
    path: str, tags: Sequence[str], policy: SessionPolicy, tuner: Tuner
) -> Opened:
    """Open a session with variables or with constants, whichever runs faster.

    With constants if there is no time to find out.

    Raises:
        Exception: whatever TensorFlow raises for a model it cannot load.
    """
    began = tuner.now()
    opened = open_session_of(path, tags, policy)
    took = tuner.now() - began
    if not opened.frozen or not tuner.has_time_for(2 * took):
        return opened
    tuner.spend(took)
    other = open_session_of(path, tags, attrs.evolve(policy, most_frozen=0))
    sessions = [opened, other]
    best = sessions.pop(fastest(sessions, tuner))
    sessions.pop().close()
    return best


def open_session_of(path: str, tags: Sequence[str], policy: SessionPolicy) -> Opened:
    """Open a session with the variables as constants, or as it was saved.

    Raises:
        Exception: whatever TensorFlow raises for a model it cannot load.
    """
    most = policy.most_frozen
    try:
        return from_checkpoint(path, tags, session_config(policy), most)
    except Exception as error:
        why = reason(error)
        log.debug("{path} is loaded by TensorFlow: {why}", path=path, why=why)
    opened = open_original(path, tags, session_config(policy))
    try:
        frozen = from_session(path, opened, session_config(policy), most)
    except Exception as error:
        why = reason(error)
        log.info("{path}: variables stay as they are: {why}", path=path, why=why)
        return opened
    opened.close()
    return frozen


def load_functions(path: str, tags: Sequence[str]) -> SavedModel:
    """Load by ``tf.saved_model.load``: any model that TensorFlow itself can run.

    Raises:
        Exception: whatever TensorFlow raises for a model it cannot load.
    """
    return SavedModel(*load_entries(path, tags))


def as_array(value: Any, dtype: np.dtype[Any]) -> Array:
    """A result as an array; TensorFlow gives bare scalars and ``bytes``.

    An array may share its memory with a variable or a constant of the model, so
    nobody may write to it.
    """
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
        return value
    array = np.empty((), dtype)
    array[()] = value
    return array


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


def _choose(opened: Opened, policy: SessionPolicy, tuner: Tuner) -> dict[str, Choice]:
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
        times = tuner.times([other.run, runners[name]], ends.signature)
        if not times:
            continue
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


def _told(opened: Opened, choices: Mapping[str, Choice]) -> str:
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
