"""What a line of the access log says of a request, in either form."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from twisted.logger import formatTime
from twisted.web.http import datetimeToLogString

from .headers import request_id
from .trace import Trace

# A target, a referrer or a browser's name is cut after so many bytes.
LONGEST_WORD = 1024

# Times of day are made once a second: that costs more than the rest of a line.

# What would end a quoted word, or a line, or do something to a terminal.
UNSAFE = re.compile(r"[^ !#-\[\]-~]")


class Record(NamedTuple):
    """What is to be said of a request. Of one whose head was not in order only the
    time, the peer, the status and its name are known.

    ``at`` and ``seconds`` are in seconds: when it was answered on the reactor's
    clock, and how long that took since its first byte; ``sent`` is the body's
    bytes. ``name`` is what the client is called if it has an API key.
    """

    at: float
    peer: str
    status: int
    name: str = ""
    method: bytes = b"-"
    target: bytes = b"-"
    version: bytes = b"-"
    sent: int = 0
    seconds: float = 0.0
    request: bytes = b"-"
    referrer: bytes = b""
    agent: bytes = b""
    trace: Trace | None = None


Line = Callable[[Record], bytes]


def recorded(request: Any, peer: str, now: float) -> Record:
    """What is to be said of a request of our own site that was answered.

    The request itself is not kept: it may be large.
    """
    origin: str = getattr(request, "origin", peer)
    return Record(
        now,
        # What is IPv4 is shown as such, whatever the socket.
        origin.removeprefix("::ffff:"),
        request.code,
        getattr(request, "key_name", ""),
        request.method,
        request.uri[:LONGEST_WORD],
        request.clientproto,
        request.sentLength,
        now - request.arrived,
        request_id(request),
        (request.getHeader(b"referer") or b"")[:LONGEST_WORD],
        (request.getHeader(b"user-agent") or b"")[:LONGEST_WORD],
        getattr(request, "trace", None),
    )


def text_line(record: Record) -> bytes:
    """The "combined" form of Apache's and nginx's logs, which every tool reads."""
    line = '{} - {} {} "{} {} {}" {} {} "{}" "{}"\n'.format(
        record.peer or "-",
        escaped(record.name.encode()) or "-",
        _text_second(int(record.at)),
        escaped(record.method),
        escaped(record.target),
        escaped(record.version),
        record.status,
        record.sent or "-",
        escaped(record.referrer) or "-",
        escaped(record.agent) or "-",
    )
    return line.encode("ascii")


def json_line(record: Record) -> bytes:
    """A JSON object; of a call it also says where the time went."""
    told: dict[str, object] = {
        "time": iso_time(record.at),
        "peer": record.peer,
        "status": record.status,
    }
    is_whole = record.method != b"-"
    if is_whole:
        told |= {
            "method": record.method.decode("latin-1"),
            "target": record.target.decode("latin-1"),
            "bytes": record.sent,
            "ms": milliseconds(record.seconds),
        }
    told["request_id"] = record.request.decode("latin-1")
    if is_whole:
        told["agent"] = record.agent.decode("latin-1")
    if record.name:
        told["client"] = record.name
    trace = record.trace
    if trace is not None:
        told |= {
            "fetch_ms": milliseconds(trace.fetch_seconds),
            "queue_ms": milliseconds(trace.queued_seconds),
            "run_ms": milliseconds(trace.run_seconds),
            "batch_rows": trace.batch_rows,
        }
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


FORMS: dict[str, Line] = {"json": json_line, "text": text_line}


def escaped(word: bytes) -> str:
    """Bytes of a client as printable ASCII that ends nothing."""
    return UNSAFE.sub(_hex, word.decode("latin-1"))


def iso_time(at: float) -> str:
    """A time of day of this place, to the millisecond (RFC 3339)."""
    second, thousandths = divmod(int(at * 1000), 1000)
    day, zone = _iso_second(second)
    return f"{day}.{thousandths:03d}{zone}"


@lru_cache(maxsize=1)
def _iso_second(second: int) -> tuple[str, str]:
    day, zone = formatTime(second, "%Y-%m-%dT%H:%M:%S %z").split()
    return day, f"{zone[:3]}:{zone[3:]}"


@lru_cache(maxsize=1)
def _text_second(second: int) -> str:
    text: str = datetimeToLogString(second)
    return text


def milliseconds(seconds: float) -> float:
    """Seconds in milliseconds, to the microsecond."""
    return round(seconds * 1000, 3)


def _hex(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"
