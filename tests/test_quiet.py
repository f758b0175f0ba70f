"""What native code says on stderr: kept back, unless it tells why all failed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests import processes
from txinfer.quiet import COLLECT_AFTER, withheld_stderr

STDERR = 2


def test_what_is_written_meanwhile_is_not_shown(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with withheld_stderr():
        os.write(STDERR, b"cudart_stub: no GPU\n")
        os.system("echo a child >&2")
    os.write(STDERR, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_it_is_shown_if_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with withheld_stderr():
            os.write(STDERR, b"no such library\n")
            raise SystemExit

    with pytest.raises(SystemExit):
        fail()
    os.write(STDERR, b"after\n")
    assert capfd.readouterr().err == "no such library\nafter\n"


def test_what_is_written_to_stdout_is_left_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with withheld_stderr():
        os.write(1, b"a line of the log\n")
    assert capfd.readouterr().out == "a line of the log\n"


def test_no_file_stays_open() -> None:
    with withheld_stderr():
        pass
    free = os.dup(STDERR)
    os.close(free)
    with withheld_stderr():
        pass
    again = os.dup(STDERR)
    os.close(again)
    assert again == free


SCRIPT = """
import sys
from tests import processes
from txinfer.quiet import load_quietly
model = load_quietly(sys.argv[1], ["serve"])
print(any(name.split(".")[0] in ("keras", "sklearn") for name in sys.modules))
import gc, weakref
first = load_quietly(sys.argv[1], ["serve"])
kept = weakref.ref(first._close.args[0].graph)
second = load_quietly(sys.argv[1], ["serve"])
first.close()
del first
gc.collect()
print(kept(), gc.get_threshold()[0])
print(model.run("serving_default", {"x": __import__("numpy").float32([[1, 2, 3]])}))
import tensorflow as tf
print(tf.keras.layers.Dense(1)(tf.ones([1, 1])).shape)
import keras
print(keras.Sequential.__name__, os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""


def in_process(path: str, **environment: str) -> list[str]:
    """What the script says of a model, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "import os" + SCRIPT, path],
        env={**processes.environment(), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_model_needs_no_keras_and_leaves_nothing(
    saved_model: Callable[[str], str],
) -> None:
    imported, kept, run, shape, keras = in_process(saved_model("keras_in_module"))
    assert imported == "False"
    # A graph is given back, though another was loaded meanwhile.
    assert kept == f"None {COLLECT_AFTER}"
    assert run.startswith("{'y': array([[")
    assert shape == "(1, 1)"
    assert keras == "Sequential 1"


def test_one_dnn_is_as_somebody_has_set_it(saved_model: Callable[[str], str]) -> None:
    said = in_process(saved_model("dense"), TF_ENABLE_ONEDNN_OPTS="0")
    assert said[-1] == "Sequential 0"
