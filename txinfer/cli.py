"""The ``txinfer`` console command: twistd in the foreground, by a shorter name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from . import __version__

USAGE = """\
Usage: txinfer serve --model PATH [options]
       txinfer serve --help
       txinfer --version

`txinfer serve` is `twistd -n tfinfer` without a pid file."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Raises:
        SystemExit: with a status of 0 unless something is wrong.
    """
    command, *rest = [*(sys.argv[1:] if arguments is None else arguments), ""]
    if command == "serve":
        serve(rest[:-1])
    elif command == "--version":
        print(f"txinfer {__version__}")
    elif command in ("--help", "-h", "help"):
        print(USAGE)
    else:
        wrong = f"unknown command {command!r}" if command else "a command is needed"
        raise SystemExit(f"{USAGE}\n\ntxinfer: {wrong}")


def serve(options: Sequence[str]) -> None:
    """Serve in the foreground until SIGINT or SIGTERM."""
    from twisted.scripts import twistd

    from .tap import Options

    if "--help" in options:
        print(Options())
        return
    config: Any = twistd.ServerOptions()  # type: ignore[attr-defined]
    config.parseOptions(["--nodaemon", "--pidfile=", "--no_save", "tfinfer", *options])
    twistd.runApp(config)


if __name__ == "__main__":
    main()
