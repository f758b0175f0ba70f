"""What native code says on stderr: kept back, unless it tells why all failed."""

from __future__ import annotations

import os

import pytest

from txinfer.quiet import withheld_stderr

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
