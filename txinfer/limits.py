"""How much a client may ask for: every bound, its default and its reason.

The fields are the command line's options of the same names; ``tap`` reads
their defaults and descriptions from here.
"""

from __future__ import annotations

from typing import Any

import attrs
from attrs.validators import ge

MIB = 1024 * 1024


def bound(default: float, help: str, least: float = 1) -> Any:
    """A field of a class of limits: an int, or a float of seconds.

    Args:
        default: the value if nobody says otherwise; its type is the field's.
        help: what it bounds, with the unit, for ``--help``.
        least: the smallest value that makes sense.
    """
    return attrs.field(default=default, validator=ge(least), metadata={"help": help})


@attrs.frozen(kw_only=True)
class DoorLimits:
    """What the HTTP channel takes; ValueError if a value makes no sense."""

    connections: int = bound(10_000, "Connections at once.")
    # A proxy's connections all come from one address.
    connections_per_address: int = bound(2_000, "Connections at once of one address.")
    # What nginx and Apache take: 8 KiB for a line, about twice that for all.
    uri_size: int = bound(8192, "Longest URL, in bytes.")
    header_size: int = bound(16384, "Largest headers of a request, in bytes.")
    header_count: int = bound(100, "Most headers of a request.")
    # A client that streams 1 KiB at a time is far below it at the body's limit.
    chunks: int = bound(65536, "Most chunks of a chunked request body.")
    # No more than --queue_bytes: that is asked when a request comes, and many that
    # come at once each find room for what they announce, and those in chunks announce
    # nothing.
    body_bytes: int = bound(
        256 * MIB, "Bodies, and answers not yet sent, held at once by all, in bytes."
    )
    # Past it the clients are cut off that have not read for longest. It is half of
    # --queue_bytes, lest those who do not read keep the others from calling.
    answer_bytes: int = bound(
        128 * MIB, "Answers that may wait for clients that do not read, in bytes."
    )
    header_timeout: float = bound(10.0, "Seconds for a request's headers.", 0.1)
    body_timeout: float = bound(30.0, "Seconds for a request's body.", 0.1)
    write_timeout: float = bound(
        30.0, "Seconds in which a client has to read 128 KiB when an answer waits.", 0.1
    )
    idle_timeout: float = bound(60.0, "Seconds a connection may stay idle.", 0.1)


@attrs.frozen(kw_only=True)
class CallLimits:
    """What one call may hold; ValueError if a value makes no sense."""

    request_size: int = bound(10 * MIB, "Largest request body, in bytes.")
    # As long as proxies and clients wait that nobody has told otherwise.
    deadline_ms: int = bound(
        60_000,
        "Milliseconds for a whole request, if it does not say so; 0 for the longest.",
        least=0,
    )
    deadline_max_ms: int = bound(
        600_000, "The longest that a request may take, in ms; 0 for ever.", least=0
    )
    # More than twice the largest usual batch is somebody using the server to
    # fetch for them.
    url_count: int = bound(64, "Most URL inputs in one request.")
    # Each part is looked at by itself, which takes some 20 microseconds.
    multipart_parts: int = bound(1000, "Most parts of a multipart/form-data body.")
    # As many as may wait by default; a call of more would not find room.
    request_rows: int = bound(16384, "Most rows in one request.")
    # The deepest value that has a use: 32 dimensions (numpy's, before version 2)
    # in an object in a list, with an object in it.
    json_depth: int = bound(
        64, "Most arrays and objects that are inside each other in JSON."
    )
    # What becomes Python objects takes up to 0.4 us and 120 bytes an element.
    json_elements: int = bound(
        131_072, "Most values and names in a JSON body, if not all are numbers."
    )
    # Numbers go straight into arrays: 0.03 us and 40 bytes an element.
    json_numbers: int = bound(
        1_048_576, "Most values in a JSON body, if all are numbers."
    )
    # What a request's tensors take beside the body and what it is parsed to.
    tensor_size: int = bound(
        64 * MIB, "Most bytes in the tensors of one request, or of its answer."
    )
    # As RGB 150 MB. The largest cameras in telephones have 48 million pixels.
    image_pixels: int = bound(
        50_000_000, "Most pixels that an image may have, all its frames together."
    )
    # Twenty million bytes of text, and some 50 ms to write them.
    output_elements: int = bound(
        2_097_152, "Most values and lists in an answer in JSON."
    )


@attrs.frozen(kw_only=True)
class QueueLimits:
    """What is held for all callers together; ValueError if a value makes no sense."""

    # A queue that takes longer to drain than a caller's patience is of no use; one
    # that is shorter than a job's rows refuses the job.
    queue_rows: int = bound(
        0, "Most rows that wait and run at once; 0 for 512 batches.", least=0
    )
    queue_bytes: int = bound(
        256 * MIB, "Most bytes held at once: bodies, tensors and answers not yet sent."
    )


@attrs.frozen(kw_only=True)
class RunLimits:
    """How long runs are waited for; ValueError if a value makes no sense."""

    # Twice as long as a request may take by default.
    stuck_seconds: float = bound(
        120.0, "Seconds after which a run is taken to hang, its slot for lost.", 0.1
    )
    # Kubernetes kills after 30 s, systemd after 90 s.
    drain_seconds: float = bound(
        25.0, "Seconds in which a stop waits for calls to be answered.", 0.0
    )


@attrs.frozen(kw_only=True)
class FetchLimits:
    """How far the fetch of one URL input goes; ValueError if a value makes no sense."""

    url_size: int = bound(10 * MIB, "Largest body fetched from a URL, in bytes.")
    # Name servers are asked again after 5 s: a lost packet must not be fatal.
    url_timeout: float = bound(
        10.0,
        "Seconds for a whole fetch; a failed one is answered when they are over.",
        least=0.01,
    )
    url_redirects: int = bound(3, "Most redirects followed in one fetch.", least=0)
    # Times the largest body, this is what fetches hold in memory.
    url_concurrent: int = bound(16, "Most fetches under way at once.")
    # A stranger sends 100 bytes and has the server hold 64 bodies.
    url_memory: int = bound(
        256 * MIB,
        "Most bytes of bodies kept for requests that still wait for other URLs.",
    )


@attrs.frozen(kw_only=True)
class ClientLimits:
    """How often one client may ask; ValueError if a value makes no sense."""

    rate_limit: float = bound(
        0.0, "Requests a second that one client may make; 0 for any number.", least=0
    )
    rate_burst: int = bound(
        0, "Requests that one client may make at once; 0 for a second's.", least=0
    )


def options(limits: type) -> list[list[Any]]:
    """The fields as ``twisted.python.usage.Options.optParameters``."""
    return [
        [field.name, None, str(field.default), field.metadata["help"]]
        for field in attrs.fields(limits)
    ]
