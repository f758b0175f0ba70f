"""Warm-up requests as TensorFlow Serving keeps them with a model.

``assets.extra/tf_serving_warmup_requests`` is a TFRecord file of ``PredictionLog``
messages (https://www.tensorflow.org/tfx/serving/saved_model_warmup). Of these the
few fields that say what to call are read here, by their numbers in
``tensorflow_serving/apis/*.proto``; the tensors are for TensorFlow to read.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import attrs

from .wire import fields

NAME = "tf_serving_warmup_requests"

#: As many as TensorFlow Serving takes: ``WarmupConsts::kMaxNumRecords``.
MAX_RECORDS = 1000

# Of PredictionLog.
CLASSIFY_LOG, REGRESS_LOG, PREDICT_LOG, PREDICT_STREAMED_LOG = 2, 3, 6, 7

# Of all of these logs, and of the requests in them.
REQUEST = 1
MODEL_SPEC = 1
SIGNATURE_NAME = 3
INPUTS = 2

# Of Input, whose examples are those of ExampleList or ExampleListWithContext.
EXAMPLE_LISTS = (1, 2)
EXAMPLES, CONTEXT = 1, 2

# Of an entry of a map.
KEY, VALUE = 1, 2

# CRC-32C, https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4, and what TFRecord
# adds to it (``tensorflow/core/lib/hash/crc32c.h``).
POLYNOMIAL = 0x82F63B78
MASK_DELTA = 0xA282EAD8


@attrs.frozen
class Logged:
    """One call: a signature's name, and for each input a serialised TensorProto.

    Those that are made of ``examples`` have instead a row of the one input for
    each, a serialised Example.
    """

    method: str
    tensors: dict[str, bytes] = attrs.field(factory=dict)
    examples: list[bytes] = attrs.field(factory=list)


def read(path: str) -> Iterator[Logged]:
    """The calls in a file; of kinds that are not known nothing is given.

    Raises:
        ValueError: it is not such a file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        for number, record in enumerate(records(file)):
            if number == MAX_RECORDS:
                raise ValueError(f"it has more than {MAX_RECORDS} records")
            yield from _calls(record)


def records(file: BinaryIO) -> Iterator[bytes]:
    """The records of a TFRecord file: length, its checksum, data, their checksum.

    That of the data is not looked at: it would take Python a second for some MB.
    """
    while head := file.read(12):
        if len(head) < 12:
            raise ValueError("it is cut short")
        size, checksum = struct.unpack("<QI", head)
        if masked_crc(head[:8]) != checksum:
            raise ValueError("it is not a TFRecord file")
        record = file.read(size)
        if len(record) < size or len(file.read(4)) < 4:
            raise ValueError("it is cut short")
        yield record


def masked_crc(data: bytes) -> int:
    """The checksum that TFRecord has of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def _calls(record: bytes) -> Iterator[Logged]:
    """The calls in one PredictionLog."""
    for kind, log in _parts(record):
        if kind in (PREDICT_LOG, PREDICT_STREAMED_LOG):
            yield from (_predict(it) for n, it in _parts(log) if n == REQUEST)
        elif kind in (CLASSIFY_LOG, REGRESS_LOG):
            yield from (_examples(it) for n, it in _parts(log) if n == REQUEST)


def _predict(request: bytes) -> Logged:
    tensors: dict[str, bytes] = {}
    for number, content in _parts(request):
        if number == INPUTS:
            entry = dict(_parts(content))
            tensors[entry.get(KEY, b"").decode()] = entry.get(VALUE, b"")
    return Logged(_method(request), tensors)


def _examples(request: bytes) -> Logged:
    examples: list[bytes] = []
    for number, given in _parts(request):
        if number != INPUTS:
            continue
        for kind, content in _parts(given):
            if kind in EXAMPLE_LISTS:
                # Messages that follow one another are one message, merged.
                context = b"".join(it for n, it in _parts(content) if n == CONTEXT)
                found = (it for n, it in _parts(content) if n == EXAMPLES)
                examples += [context + it for it in found]
    return Logged(_method(request), examples=examples)


def _method(request: bytes) -> str:
    """The signature's name; empty if none is said."""
    for number, spec in _parts(request):
        if number == MODEL_SPEC:
            for inner, content in _parts(spec):
                if inner == SIGNATURE_NAME:
                    return content.decode()
    return ""


def _parts(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field that holds bytes."""
    file = io.BytesIO(message)
    for number, size in fields(file, len(message)):
        yield number, file.read(size)
