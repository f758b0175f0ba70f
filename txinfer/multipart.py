"""multipart/form-data (RFC 7578) to its parts, in memory and bounded.

The parser is the one that treq brings along. It looks for boundaries at the
speed of C and gives up at the first that is none; a parser that goes on byte by
byte there is kept busy for a second by 10 MB of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from .errors import InvalidBody
from .refusals import TooManyParts

FORM = b"multipart/form-data"

# RFC 2046, section 5.1.1.
LONGEST_BOUNDARY = 70

# A name and a file's name of some hundred characters each, in UTF-8, as percent
# escapes; RFC 7578 knows three headers.
LONGEST_HEADER = 4096
MOST_HEADERS = 8

# RFC 2045, section 6.2: those that leave bytes as they are. RFC 7578, section
# 4.7, gives up the others.
PLAIN = {"", "7bit", "8bit", "binary"}


@attrs.frozen
class Part:
    """One part: its name, its media type in lower case, its bytes.

    The type is ``text/plain`` if it has none; ``charset`` is empty if it has none.
    """

    name: str
    type: str
    charset: str
    data: bytes


def media_type_of(header: bytes) -> tuple[str, str]:
    """The media type and the charset of a Content-Type header, in lower case."""
    media_type, options = parse_options_header(header.decode("latin-1"))
    return media_type, options.get("charset", "").lower()


def read_parts(body: bytes, content_type: bytes, most: int) -> list[Part]:
    """The parts of a body, in order.

    A file that was not chosen (no name, no bytes), which browsers send all the
    same, is none.

    Args:
        body: the whole body.
        content_type: the request's header, which has the boundary.
        most: how many parts there may be.

    Raises:
        TooManyParts: there are more.
        InvalidBody: the body is not well-formed, or is cut short.
    """
    _, options = parse_options_header(content_type.decode("latin-1"))
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise InvalidBody("multipart: the Content-Type needs a boundary")
    try:
        parser = PushMultipartParser(
            boundary.encode("latin-1"),
            max_header_size=LONGEST_HEADER,
            max_header_count=MOST_HEADERS,
            strict=True,
        )
        return list(_parts(parser, body, most))
    except MultipartError:
        raise InvalidBody("multipart: the body is not well-formed") from None


def _parts(parser: PushMultipartParser, body: bytes, most: int) -> Iterator[Part]:
    segments: list[MultipartSegment] = []
    data = b""
    with parser:
        for event in parser.parse(body):
            if event is None:
                if data or segments[-1].filename != "":
                    yield _part(segments[-1], data)
                data = b""
            elif isinstance(event, MultipartSegment):
                segments.append(event)
                if len(segments) > most:
                    raise TooManyParts(most)
            else:
                # All of it is there, so it comes in one piece.
                data += event


def _part(segment: MultipartSegment, data: bytes) -> Part:
    if segment.header("Content-Transfer-Encoding", "").strip().lower() not in PLAIN:
        raise InvalidBody(
            "multipart: the bytes of a part come as they are, "
            "without Content-Transfer-Encoding"
        )
    if (segment.content_type or "").startswith("multipart/"):
        # curl's "-F x=@a,b"; RFC 7578, section 4.3, gives it up.
        raise InvalidBody("multipart: send each file as a part of its own")
    return Part(
        segment.name,
        segment.content_type or "text/plain",
        (segment.charset or "").lower(),
        data,
    )
