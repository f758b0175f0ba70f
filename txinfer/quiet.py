"""TensorFlow without its start-up lines and pauses, for a process that is all ours.

None of this is done to a program that embeds the service.
"""

from __future__ import annotations

import gc
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .interfaces import IModel
from .layout import find

# TensorFlow's own switch: 3 leaves only what ends the process. Somebody who has
# set it wants to see more.
SWITCH = "TF_CPP_MIN_LOG_LEVEL"

STDERR = 2


def load_quietly(path: str, tags: Sequence[str]) -> IModel:
    """Load a SavedModel as :func:`txinfer.savedmodel.load` does, hushed. Blocks.

    Raises:
        InvalidModel: the path cannot be served.
    """
    if SWITCH not in os.environ:
        os.environ[SWITCH] = "3"
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        with withheld_stderr():
            # The CUDA stub speaks before any switch is read.
            from . import savedmodel  # noqa: F401
    from .savedmodel import load

    # TensorFlow's modules are 300,000 objects; a garbage collection that looks
    # through them all stops every request for a quarter of a second. What the
    # model is made of comes after this, so it can still be given back.
    gc.freeze()
    return load(find(path, tags), tags)


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
