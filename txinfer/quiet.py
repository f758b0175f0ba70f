"""TensorFlow without its start-up lines, for a process that is all ours.

None of this is done to a program that embeds the service.
"""

from __future__ import annotations

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
