"""What the values of options must be: from texts to values.

Each function raises ValueError with the rule, in words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs

from .keys import ApiKeys, parse_keys


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError("must be a whole number of at least 1")
    return int(text)


def sizes(text: str) -> tuple[int, ...]:
    """Whole numbers of at least 1, in order, each once."""
    try:
        return tuple(sorted({positive(size.strip()) for size in text.split(",")}))
    except ValueError:
        raise ValueError("must be whole numbers of at least 1: 1,2,4") from None


def natural(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isascii() or not text.isdigit():
        raise ValueError("must be a whole number of at least 0")
    return int(text)


def number_of(field: attrs.Attribute[Any]) -> Callable[[str], float]:
    """Reads what a limit's field takes: whole numbers, or seconds."""
    whole = isinstance(field.default, int)
    kind: Callable[[str], float] = int if whole else float
    wanted = "a whole number" if whole else "a number"
    least = field.validator.bound  # type: ignore[union-attr]

    def read(text: str) -> float:
        if text.isascii() and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            with suppress(ValueError):
                value = kind(text)
                if value >= least:
                    return value
        raise ValueError(f"must be {wanted} of at least {least}")

    return read


def folder(text: str) -> str:
    """The absolute path of a folder."""
    if not os.path.isdir(text):
        raise ValueError("must be a folder")
    return os.path.abspath(text)


def api_keys(path: str) -> ApiKeys:
    """The keys in a file."""
    try:
        with open(path, encoding="utf-8") as file:
            return parse_keys(file.read())
    except (OSError, UnicodeDecodeError):
        raise ValueError("must be a file that can be read") from None


def log_file(text: str) -> str:
    """A file that can be made or added to; - is standard output."""
    path = os.path.abspath(text)
    if text == "-":
        return text
    place = path if os.path.exists(path) else os.path.dirname(path)
    if not text or os.path.isdir(path) or not os.access(place, os.W_OK):
        raise ValueError("must be a file that can be written, or -")
    return path


def log_form(text: str) -> str:
    """The name of a form of the access log."""
    if text not in ("json", "text"):
        raise ValueError("must be json or text")
    return text


def endpoint(text: str) -> str:
    """An endpoint description that can be parsed; a bare number is a TCP port."""
    if text.isascii() and text.isdigit():
        text = f"tcp:{text}:interface=127.0.0.1"
    kind, _, rest = text.partition(":")
    number = rest.split(":")[0].removeprefix("port=")
    if kind in ("tcp", "tcp4", "tcp6", "ssl") and not _is_port(number):
        # Twisted finds it out when other ports listen already.
        raise ValueError("must be a port number from 0 to 65535")
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString

    try:
        serverFromString(reactor, text)
    except Exception as error:
        raise ValueError(
            f"must be a port number or a Twisted endpoint ({error})"
        ) from None
    return text


def _is_port(text: str) -> bool:
    """Whether a text is not a wrong number of a port; it may be no number."""
    return not text.lstrip("-").isdecimal() or 0 <= int(text) <= 65535


def allow_rule(text: str) -> object:
    """A host, address or range that is admitted."""
    from .addresses import parse_allow

    return parse_allow(text)
