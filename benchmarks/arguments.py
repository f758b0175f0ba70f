"""What the command lines of the scripts have in common."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable


def described(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a module's docstring, as it stands there."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def takes_options(parser: argparse.ArgumentParser) -> None:
    """Add what is handed on to the server."""
    parser.add_argument(
        "--options", type=shlex.split, default=[], help="of the server, in one word"
    )


def among(known: Iterable[str]) -> Callable[[str], list[str]]:
    """What reads names separated by commas, of those that are known."""

    def names(text: str) -> list[str]:
        found = text.split(",")
        if unknown := set(found) - set(known):
            wanted = ", ".join(known)
            raise argparse.ArgumentTypeError(f"{min(unknown)}: not among {wanted}")
        return found

    return names


def numbers(text: str) -> list[int]:
    """Reads numbers separated by commas."""
    return [int(number) for number in text.split(",")]
