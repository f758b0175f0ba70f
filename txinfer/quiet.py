"""TensorFlow without its start-up lines and pauses, for a process that is all ours.

None of this is done to a program that embeds the service.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .interfaces import IModel
from .layout import find
from .tune import DEFAULT_SESSION, POOL_EACH, SessionPolicy

# TensorFlow's own switch: 3 leaves only what ends the process. Somebody who has
# set it wants to see more.
SWITCH = "TF_CPP_MIN_LOG_LEVEL"

STDERR = 2

#: What imports TensorFlow.
ADAPTER = f"{__package__}.savedmodel"


# Kernels of https://github.com/uxlfoundation/oneDNN, by default on for some
# processors only; the import of TensorFlow reads it. For convolutions with
# constant weights they take two thirds of the time.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"

# Objects that are made more than given up before the garbage collector looks at them.
# A thousand requests that wait are 30,000, of which none is garbage; with Python's 700
# it looked at them so often that each request took a fifth longer. As many dead ones
# are some ten megabytes.
COLLECT_AFTER = 50_000


def load_quietly(
    path: str, tags: Sequence[str], policy: SessionPolicy = DEFAULT_SESSION
) -> IModel:
    """Load a SavedModel as :func:`txinfer.savedmodel.load` does, hushed. Blocks.

    Raises:
        InvalidModel: the path cannot be served.
    """
    if ADAPTER not in sys.modules:
        _import_tensorflow()
    from .savedmodel import load

    return load(find(path, tags), tags, policy)


def _import_tensorflow() -> None:
    """Import it, in silence unless somebody wants to hear it."""
    os.environ.setdefault(ONEDNN, "1")
    os.environ.setdefault(POOL_EACH, "1")
    with without_keras():
        if SWITCH in os.environ:
            importlib.import_module(ADAPTER)
        else:
            os.environ[SWITCH] = "3"
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
            # The CUDA stub speaks before any switch is read.
            with withheld_stderr():
                importlib.import_module(ADAPTER)
    # TensorFlow's modules are 300,000 objects; a garbage collection that looks
    # through them all stops every request for a quarter of a second. Once only:
    # a model's graph is given back by the collector.
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


@contextmanager
def without_keras() -> Iterator[None]:
    """Keep TensorFlow from importing Keras, which no SavedModel needs to be run.

    It does without if there is none. With what Keras imports in turn if it is
    installed, scikit-learn for one, that is up to 80 MiB and a quarter of the
    time; ``tf.keras`` loads it later if it is ever used.
    """
    if "keras" in sys.modules:
        yield
        return
    # As the import system has it: there is no such module.
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["keras"]


@contextmanager
def withheld_stderr() -> Iterator[None]:
    """Keep back what native code writes to stderr, and show it if the block fails."""
    with tempfile.TemporaryFile() as kept:
        real = os.dup(STDERR)
        os.dup2(kept.fileno(), STDERR)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(real, kept.read())
            raise
        finally:
            os.dup2(real, STDERR)
            os.close(real)
