"""A SavedModel folder as an :class:`~txinfer.interfaces.IModel`.

A model is run in a session of its own: a call costs a third of what the
functions of ``tf.saved_model.load`` cost, or less. How it gets there is the
matter of ``frozen`` and ``original``; what neither can load, ``functions`` can.
"""

from __future__ import annotations

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
from .frozen import from_checkpoint, from_session
from .functions import Entry, load_entries
from .interfaces import IModel
from .memory import give_back
from .original import open_original
from .session import Opened, close_session, forget_constants, session_config
from .tensors import Array, Tensors
from .tune import DEFAULT_SESSION, SessionPolicy, Tuner
from .ways import best_ways, fastest, in_one_thread, told

log = Logger()


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
    choices = best_ways(opened, policy, tuner)
    single = in_one_thread(opened, choices, policy)
    if single is not None:
        opened.close()
        opened, choices = single
    forget_constants(opened.session.graph)
    entries = {
        name: Entry(ends.signature, choices[name].run, ends.stateful)
        for name, ends in opened.ends.items()
    }
    # Of what was opened the model keeps no more: its graph as it was saved is large.
    model = SavedModel(entries, opened.refused, partial(close_session, opened.session))
    return model, told(opened, choices)


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
