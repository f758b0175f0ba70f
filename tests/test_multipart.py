"""multipart/form-data as curl, browsers and strangers send it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from txinfer.errors import InferenceError, InvalidBody
from txinfer.multipart import LONGEST_HEADER, Part, media_type_of, read_parts
from txinfer.refusals import TooManyParts

HEADER = b"multipart/form-data; boundary=XX"
MOST = 10


def part(head: str, data: bytes = b"data") -> bytes:
    return b"--XX\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"


def named(name: str, data: bytes = b"data", more: str = "") -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"{more}', data)


END = b"--XX--\r\n"


def read(body: bytes, header: bytes = HEADER) -> list[Part]:
    return read_parts(body, header, MOST)


def why(body: bytes, header: bytes = HEADER) -> str:
    with pytest.raises(InvalidBody) as refusal:
        read(body, header)
    return str(refusal.value)


def test_what_curl_sends_is_read() -> None:
    boundary = b"------------------------d74496d66958873e"
    body = (
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="image"; '
        b'filename="cat.jpg"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\r\n--\r\n\r\n'
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="n"\r\n\r\n3\r\n'
        b"--" + boundary + b"--\r\n"
    )
    assert read(body, b"multipart/form-data; boundary=" + boundary) == [
        Part("image", "image/jpeg", "", b"\xff\xd8\r\n--\r\n"),
        Part("n", "text/plain", "", b"3"),
    ]


def test_what_browsers_send_is_read() -> None:
    body = (
        named("an %22é%22", b"\0", '; filename="a b.png"\r\nContent-Type: image/png')
        + named("vector", b"[1]", '; filename="blob"\r\nContent-Type: Application/JSON')
        + named("text", b"", '; filename="x"\r\nContent-Type: text/plain;charset=UTF-8')
        + b"--XX--\r\n"
    )
    assert read(body, b'multipart/form-data; boundary="XX"') == [
        Part('an "é"', "image/png", "", b"\0"),
        Part("vector", "application/json", "", b"[1]"),
        Part("text", "text/plain", "utf-8", b""),
    ]


def test_a_file_that_was_not_chosen_is_no_part() -> None:
    chosen = '; filename=""\r\nContent-Type: application/octet-stream'
    body = named("a", b"", chosen) + named("b", b"x", chosen) + named("c", b"") + END
    assert [(p.name, p.data) for p in read(body)] == [("b", b"x"), ("c", b"")]


@given(
    st.lists(
        st.binary(max_size=60).filter(lambda data: b"--XX" not in data), max_size=9
    )
)
def test_bytes_come_as_they_are(values: list[bytes]) -> None:
    body = b"".join(named("x", value) for value in values) + END
    assert [p.data for p in read(body)] == values


@pytest.mark.parametrize(
    "data", [b"\r" * 9, b"\r\n--X", b"\r\n--", b"--XX", b"\r\n-XX"]
)
def test_what_is_nearly_a_boundary_is_data(data: bytes) -> None:
    assert [p.data for p in read(named("x", data) + END)] == [data]


def test_there_are_so_many_parts_and_no_more() -> None:
    assert len(read(named("x") * MOST + END)) == MOST
    with pytest.raises(TooManyParts, match="more than 10 parts"):
        read(named("x") * (MOST + 1) + END)
    with pytest.raises(TooManyParts):
        read(named("x") * 100_000)


def test_a_header_has_so_many_bytes_and_no_more() -> None:
    line = 'Content-Disposition: form-data; name="'
    fits = "x" * (LONGEST_HEADER - len(line) - 1)
    assert read(named(fits) + END)[0].name == fits
    assert why(named(fits + "x") + END)
    assert why(b"--XX\r\n" + b"x" * 100_000)


def test_a_part_has_so_many_headers_and_no_more() -> None:
    assert read(named("x", more="\r\nA: b" * 7) + END)
    assert why(named("x", more="\r\nA: b" * 8) + END)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        END[:-3],
        named("x"),
        named("x")[:-2],
        named("x") + b"--XX-",
        named("x") + b"--XXX\r\n" + END,
        named("x") + b"--XX \r\n" + END,
        b"--YY--\r\n",
        part("Content-Type: text/plain") + END,
        part("Content-Disposition: form-data") + END,
        part('Content-Disposition: attachment; name="x"') + END,
        part("no header") + END,
        part('Content-Disposition: form-data;\r\n name="x"') + END,
        b"--XX\n" + named("x")[6:] + END,
        b'--XX\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n' + END,
        named("x", more="\r\nContent-Length: 9") + END,
        named("x", more="\r\nContent-Length: " + "9" * 4000) + END,
    ],
)
def test_what_is_not_well_formed_is_refused(body: bytes) -> None:
    assert why(body) == "multipart: the body is not well-formed"


def test_a_form_without_parts_has_none() -> None:
    assert read(END) == []


@pytest.mark.parametrize(
    "header",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
        b"multipart/form-data; boundary=" + b"x" * 71,
        b"multipart/form-data; boundary=\xff",
        b"multipart/form-data boundary=XX",
    ],
)
def test_there_must_be_a_boundary(header: bytes) -> None:
    assert why(END, header) == "multipart: the Content-Type needs a boundary"


@pytest.mark.parametrize("coding", ["base64", "Quoted-Printable", "x-gzip"])
def test_parts_are_not_encoded(coding: str) -> None:
    body = named("x", more=f"\r\nContent-Transfer-Encoding: {coding}") + END
    assert why(body).startswith("multipart: the bytes of a part come as they are")
    assert read(body.replace(coding.encode(), b"8bit"))


def test_parts_have_no_parts() -> None:
    body = named("x", more="\r\nContent-Type: multipart/mixed; boundary=Y") + END
    assert why(body) == "multipart: send each file as a part of its own"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"Text/Plain", ("text/plain", "")),
        (b"text/plain; charset=UTF-8", ("text/plain", "utf-8")),
        (b'text/plain ;a=b; Charset="x"', ("text/plain", "x")),
        (b"", ("", "")),
        (b";\xff;=;;", ("", "")),
    ],
)
def test_a_content_type_has_a_type_and_a_charset(
    header: bytes, found: tuple[str, str]
) -> None:
    assert media_type_of(header) == found


FRAGMENTS = [b"--XX", b"\r\n", b"--", b":", b"x", b'"', b"Content-Disposition", b"\xff"]


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([*FRAGMENTS, named("x"), END]), st.binary(max_size=5)
        ),
        max_size=30,
    )
)
def test_nothing_else_ever_happens(pieces: list[bytes]) -> None:
    try:
        parts = read(b"".join(pieces))
    except InferenceError:
        return
    assert len(parts) <= MOST
