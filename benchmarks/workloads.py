"""What is asked of a server: which model, in which form on the wire."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from . import models

#: Of the largest value of an answer: batches of another size are computed in
#: another order. The answers of two cases lie further apart (see the tests).
TOLERANCE = 1e-3


@attrs.frozen
class Wire:
    """A form of one row in a request, and of its answer."""

    media_type: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    accept: str = attrs.field()

    @accept.default
    def _same(self) -> str:
        return self.media_type


@attrs.frozen
class Workload:
    """One row of a model in one form; ``name`` is what the table calls it."""

    name: str
    model: str
    wire: Wire

    def requests(self) -> list[Request]:
        """A request for each of the model's cases."""
        return [
            Request(self.wire, self.wire.encode(x), y)
            for x, y in models.cases(self.model)
        ]


@attrs.frozen(eq=False)
class Request:
    """A body, and what the first row of the answer must be."""

    wire: Wire
    body: bytes
    expected: Any

    def headers(self) -> dict[str, str]:
        """What goes with the body."""
        return {"Content-Type": self.wire.media_type, "Accept": self.wire.accept}

    def why_wrong(self, status: int, answer: bytes) -> str | None:
        """What is wrong with an answer, in words; None if it is right."""
        if status != 200:
            return f"{status}: {answer[:80]!r}"
        got = np.asarray(self.wire.decode(answer), np.float64)
        want = np.asarray(self.expected, np.float64)
        if got.shape != want.shape:
            return f"shape {got.shape}, not {want.shape}"
        off = float(np.abs(got - want).max()) / float(np.abs(want).max())
        return None if off <= TOLERANCE else f"off by {off:.1e} of the largest"


def _json_row(x: Any) -> bytes:
    # A float32 in its shortest form, as an encoder of float32 writes it.
    numbers = [float(text) for text in map(str, x.ravel())]
    value: Any = np.array(numbers, object).reshape(x.shape).tolist()
    return json.dumps({"x": [value]}, separators=(",", ":")).encode()


def _json_file(x: Any) -> bytes:
    value = {"b64": base64.b64encode(x.tobytes()).decode()}
    return json.dumps({"x": [value]}, separators=(",", ":")).encode()


def _from_json(answer: bytes) -> Any:
    return json.loads(answer)["y"][0]


def _npy(x: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, x[None])
    return file.getvalue()


def _from_npy(answer: bytes) -> Any:
    return np.load(io.BytesIO(answer))[0]


def _msgpack(x: Any) -> bytes:
    """``{"x": bytes}`` in MessagePack, which is little enough to be written here
    (https://github.com/msgpack/msgpack/blob/master/spec.md): fixmap, fixstr, bin 32.
    """
    data: bytes = x.tobytes()
    return b"\x81\xa1x\xc6" + struct.pack(">I", len(data)) + data


def _from_msgpack(answer: bytes) -> Any:
    """The float32 of ``{"y": bytes}``; its head is that of bin 8, 16 or 32."""
    size = {0xC4: 1, 0xC5: 2, 0xC6: 4}[answer[3]]
    return np.frombuffer(answer, np.float32, offset=4 + size)


JSON = Wire("application/json", _json_row, _from_json)
FILE = Wire("application/json", _json_file, _from_json)
NPY = Wire("application/x-npy", _npy, _from_npy)
# A raw body is one example, and so is its answer.
RAW = Wire(
    "image/jpeg",
    lambda x: bytes(x.tobytes()),
    lambda answer: json.loads(answer)["y"],
    "application/json",
)
MSGPACK = Wire("application/msgpack", _msgpack, _from_msgpack)

WORKLOADS = {
    "tiny": Workload("tiny", "tiny", JSON),
    "mlp": Workload("mlp", "mlp", JSON),
    "image": Workload("image", "image", FILE),
    "image-raw": Workload("image-raw", "image", RAW),
    "tensor": Workload("tensor", "tensor", JSON),
    "tensor-npy": Workload("tensor-npy", "tensor", NPY),
}

#: 2x + 1, at once and in a known time: no measures of how fast a server is.
AFFINE = Workload("affine", "affine", JSON)
BUSY = Workload("busy", "busy", JSON)
STALLING = Workload("stalling", "stalling", JSON)

#: What a peer is sent instead, where it does not know the form.
INSTEAD = {
    "tensor-npy": Workload("tensor-msgpack", "tensor", MSGPACK),
    "image-raw": WORKLOADS["image"],
}
