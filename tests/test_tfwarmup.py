"""Files of warm-up requests as TensorFlow Serving has them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.test_layout import field
from txinfer.tfwarmup import MAX_RECORDS, Logged, masked_crc, read


def record(data: bytes) -> bytes:
    """A record of a TFRecord file; nobody looks at the last four bytes."""
    size = struct.pack("<Q", len(data))
    return size + struct.pack("<I", masked_crc(size)) + data + bytes(4)


def spec(method: str) -> bytes:
    """A ModelSpec, with a version in it."""
    return field(1, b"digits") + field(2, b"\x08\x03") + field(3, method.encode())


def predict(method: str, **tensors: bytes) -> bytes:
    """A PredictionLog of a PredictLog."""
    entries = (
        field(2, field(1, name.encode()) + field(2, tensor))
        for name, tensor in tensors.items()
    )
    request = field(1, spec(method)) + b"".join(entries) + field(3, b"y")
    return field(1, b"") + field(6, field(1, request) + field(2, b""))


def classify(method: str, kind: int, *examples: bytes, context: bytes = b"") -> bytes:
    """A PredictionLog of a ClassifyLog (2) or a RegressLog (3)."""
    content = b"".join(field(1, example) for example in examples)
    merged = field(2, context) if context else b""
    given = field(2 if context else 1, content + merged)
    return field(kind, field(1, field(1, spec(method)) + field(2, given)))


def write(path: Path, *logs: bytes) -> str:
    path.write_bytes(b"".join(map(record, logs)))
    return str(path)


def test_the_checksum_is_crc_32c() -> None:
    # RFC 3720, B.4: the CRC of 32 bytes of zero is 0x8a9136aa.
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc(bytes(32)) == masked


def test_predictions_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "f", predict("names", a=b"A", b=b"B"), predict("", x=b"X"))
    assert list(read(path)) == [
        Logged("names", {"a": b"A", "b": b"B"}),
        Logged("", {"x": b"X"}),
    ]


def test_each_request_of_a_stream_is_read(tmp_path: Path) -> None:
    first, second = (
        field(1, field(1, spec("f")) + field(2, field(1, b"x") + field(2, it)))
        for it in (b"1", b"2")
    )
    path = write(tmp_path / "f", field(7, first + second))
    assert [call.tensors for call in read(path)] == [{"x": b"1"}, {"x": b"2"}]


@pytest.mark.parametrize("kind", [2, 3])
def test_examples_are_rows(tmp_path: Path, kind: int) -> None:
    path = write(tmp_path / "f", classify("c", kind, b"one", b"two"))
    assert list(read(path)) == [Logged("c", examples=[b"one", b"two"])]


def test_the_context_of_examples_is_put_before_each(tmp_path: Path) -> None:
    path = write(tmp_path / "f", classify("c", 2, b"one", b"two", context=b"all "))
    assert list(read(path)) == [Logged("c", examples=[b"all one", b"all two"])]


def test_other_kinds_of_logs_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "f", field(4, b""), field(5, b"?"), predict("f", x=b"X"))
    assert len(list(read(path))) == 1


def test_an_empty_file_has_no_calls(tmp_path: Path) -> None:
    assert list(read(write(tmp_path / "f"))) == []


WHOLE = record(predict("f", x=b"X"))


@pytest.mark.parametrize("size", range(1, len(WHOLE)))
def test_a_part_of_a_file_is_told(tmp_path: Path, size: int) -> None:
    (tmp_path / "f").write_bytes(WHOLE[:size])
    with pytest.raises(ValueError, match="it is cut short"):
        list(read(str(tmp_path / "f")))


def test_any_other_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"not at all what it should be")
    with pytest.raises(ValueError, match="it is not a TFRecord file"):
        list(read(str(tmp_path / "f")))


def test_there_are_only_so_many(tmp_path: Path) -> None:
    log = predict("f", x=b"X")
    assert len(list(read(write(tmp_path / "f", *[log] * MAX_RECORDS)))) == MAX_RECORDS
    with pytest.raises(ValueError, match="it has more than 1000 records"):
        list(read(write(tmp_path / "f", *[log] * (MAX_RECORDS + 1))))
