"""What a request's body gives to a method, from the wire to the answer."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from twisted.internet.task import Clock
from twisted.web.server import Site

from tests.test_native import (
    COLUMNS,
    COLUMNS_OUT,
    METHODS,
    ROWS_OUT,
    Bench,
    Shelf,
    signature,
    upper,
)
from tests.web_client import LIMIT, Answer, Connection, WebClient
from txinfer.limits import CallLimits

NPY, NPZ = "application/x-npy", "application/x-npz"
PARTS = 100
FORM = "multipart/form-data; boundary=XX"

MORE_METHODS = {
    **METHODS,
    "letters": (
        signature({"text": ("string", (None, 1))}, {"out": ("string", (None, 1))}),
        upper,
    ),
    "pair": (
        signature({"text": ("string", (None, 2))}, {"out": ("string", (None, 2))}),
        upper,
    ),
    "one": (signature({"text": ("string", ())}, {"out": ("string", ())}), upper),
    "double": (
        signature({"x": ("float32", (None, 2))}, {"y": ("float32", (None, 2))}),
        lambda tensors: {"y": tensors["x"] * 2},
    ),
    "flip": (
        signature({"x": ("bool", None)}, {"y": ("bool", None)}),
        lambda tensors: {"y": ~tensors["x"]},
    ),
    "column": (
        signature({"x": ("int64", (None, 1))}, {"y": ("int64", (None, 1))}),
        lambda tensors: {"y": -tensors["x"]},
    ),
}


class Uploads(Bench):
    """A bench to which bodies of any type are sent."""

    def send(
        self, path: str, body: bytes, media_type: str | None, **headers: str
    ) -> Answer:
        fields = {name.replace("_", "-"): text for name, text in headers.items()}
        if media_type is not None:
            fields["Content-Type"] = media_type
        connection = self.web.begin("POST", path, body, fields)
        self.threads.finish()
        return connection.answer()

    def value(self, path: str, body: bytes, media_type: str | None, **h: str) -> Any:
        answer = self.send(path, body, media_type, **h)
        assert answer.status == 200, answer.value
        return answer.value

    def error(
        self,
        path: str,
        body: bytes,
        media_type: str | None,
        status: int = 400,
        **headers: str,
    ) -> str:
        runs = len(self.model.calls)
        answer = self.send(path, body, media_type, **headers)
        assert (answer.status, len(self.model.calls)) == (status, runs)
        return answer.error


@pytest.fixture
def bench() -> Uploads:
    limits = CallLimits(request_size=LIMIT, multipart_parts=PARTS)
    uploads = Uploads(methods=MORE_METHODS, limits=limits)
    uploads.load()
    return uploads


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


Field = tuple[str, str | bytes] | tuple[str, str | bytes, str]


def form(*fields: Field) -> bytes:
    """A form of (name, data) or (name, data, media type)."""
    parts = []
    for name, data, *types in fields:
        data = data.encode() if isinstance(data, str) else data
        lines = "".join(f"\r\nContent-Type: {text}" for text in types)
        head = f'--XX\r\nContent-Disposition: form-data; name="{name}"{lines}\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join(parts) + b"--XX--\r\n"


# JSON, said or not

TEXT = b'{"text": ["a"]}'


@pytest.mark.parametrize("transposing", [False, True])
@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON ;charset="UTF-8"',
        "text/json",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-8",
        "application/problem+json",
    ],
)
def test_json_may_be_called_so_or_not_at_all(
    media_type: str | None, transposing: bool
) -> None:
    bench = Uploads(transposing)
    bench.load()
    body = b'[{"text": "a"}]'
    assert bench.value("/upper", body, media_type) == [{"out": "A"}]


def test_who_does_not_say_what_is_no_json_is_told_how(bench: Uploads) -> None:
    for media_type in (None, "application/x-www-form-urlencoded"):
        text = bench.error("/upper", b"\xff\xd8\xff\xe0", media_type)
        assert text.startswith("the body is not JSON: ")
        assert text.endswith("something else, send its Content-Type")
    text = bench.error("/upper", b"\xff", "application/json")
    assert "Content-Type" not in text


# Bytes and text


@pytest.mark.parametrize("media_type", ["image/jpeg", "text/plain", "a/b", "IMAGE/X"])
def test_any_other_body_is_one_string(bench: Uploads, media_type: str) -> None:
    assert bench.value("/upper", b"a\xff\0b", media_type) == {
        "out": {"b64": "Qf8AQg=="}
    }
    assert bench.value("/upper", b'{"text": "a"}', media_type) == {
        "out": '{"TEXT": "A"}'
    }
    assert bench.value("/upper", b"", media_type) == {"out": ""}


@pytest.mark.parametrize("transposing", [False, True])
def test_one_string_is_one_row(transposing: bool) -> None:
    bench = Uploads(transposing, methods=MORE_METHODS)
    bench.load()
    assert bench.value("/upper", b"a", "text/plain") == {"out": "A"}
    assert [call["text"].tolist() for call in bench.model.calls] == [[b"a"]]


def test_one_string_stands_for_a_row_of_one(bench: Uploads) -> None:
    assert bench.value("/letters", b"a", "text/plain") == {"out": ["A"]}
    text = bench.error("/pair", b"a", "text/plain")
    assert text == "input 'text': expected shape [-1, 2], got [1]"


def test_methods_without_rows_take_one_string_too(bench: Uploads) -> None:
    assert bench.value("/one", b"a", "text/plain") == {"out": "A"}
    assert bench.value("/upper_any", b"a", "text/plain") == {"out": "A"}


def test_strings_of_several_clients_share_a_run(bench: Uploads) -> None:
    connections = [
        bench.web.begin("POST", "/upper", body, {"Content-Type": "text/plain"})
        for body in (b"a", b"b", b"c")
    ]
    bench.threads.finish()
    assert [c.answer().value["out"] for c in connections] == ["A", "B", "C"]
    assert [len(call["text"]) for call in bench.model.calls] == [1, 2]


@pytest.mark.parametrize("path", ["/", "/total", "/answer", "/double"])
def test_only_a_single_input_of_strings_takes_it(bench: Uploads, path: str) -> None:
    text = bench.error(path, b"a", "image/png", 415)
    assert (
        text == "only methods with one input, of strings, take such a body; send JSON"
    )


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"', "us-ascii"])
def test_text_may_say_that_it_is_utf_8(bench: Uploads, charset: str) -> None:
    media_type = f"text/plain; charset={charset}"
    assert bench.value("/upper", b"a", media_type) == {"out": "A"}


def test_text_in_anything_else_is_refused(bench: Uploads) -> None:
    text = bench.error("/upper", b"a", "text/plain; charset=utf-16", 415)
    assert text == "text must be in UTF-8"
    assert bench.value("/upper", b"a", "image/x; charset=utf-16") == {"out": "A"}


@pytest.mark.parametrize("media_type", ["json", "x", "utf-8; a/b"])
def test_what_is_no_media_type_is_refused(bench: Uploads, media_type: str) -> None:
    text = bench.error("/upper", TEXT, media_type, 415)
    assert text == "the Content-Type is not a media type"


# Arrays


def test_an_array_is_the_only_input(bench: Uploads) -> None:
    body = npy(np.array([[1, 2], [3, 4]], np.float32))
    assert bench.value("/double", body, NPY) == {"y": [[2.0, 4.0], [6.0, 8.0]]}


def test_an_array_of_one_dimension_fewer_is_one_row(bench: Uploads) -> None:
    body = npy(np.array([1, 2], np.float32))
    assert bench.value("/double", body, NPY) == {"y": [2.0, 4.0]}


def test_arrays_have_rows_whatever_the_flag_says_of_objects() -> None:
    bench = Uploads(True, methods=MORE_METHODS)
    bench.load()
    body = npy(np.array([[1, 2], [3, 4]], np.float32))
    assert bench.value("/double", body, NPY) == {"y": [[2.0, 4.0], [6.0, 8.0]]}
    body = form(("x", "[1, 2]"), ("x", "[3, 4]"))
    assert bench.value("/double", body, FORM) == {"y": [[2.0, 4.0], [6.0, 8.0]]}


def test_an_array_is_converted_as_json_would_be(bench: Uploads) -> None:
    for dtype in (np.float64, ">f4", np.int8, np.uint64):
        body = npy(np.array([[1, 2]], dtype))
        assert bench.value("/double", body, NPY) == {"y": [[2.0, 4.0]]}
    text = bench.error("/column", npy(np.ones((2, 1))), NPY)
    assert text == "input 'x': expected int64, got float64"
    text = bench.error("/double", npy(np.array([[0, 1], [0, 1e99]])), NPY)
    assert text == "input 'x'[1][1]: outside the range of float32"


def test_an_array_of_another_shape_is_refused_by_its_input(bench: Uploads) -> None:
    for shape in ((3,), (1, 3), (1, 1, 2), ()):
        text = bench.error("/double", npy(np.ones(shape)), NPY)
        assert text.startswith("input 'x': expected shape [-1, 2], got [")
    text = bench.error("/double", npy(np.ones((0, 2))), NPY)
    assert text == "input 'x': at least one row is needed"


def test_methods_without_rows_take_an_array_too(bench: Uploads) -> None:
    assert bench.value("/total", npy(np.array([1, 2])), NPY) == {"y": 3}
    assert bench.value("/scalar", npy(np.array(3)), NPY) == {"y": 1.5}
    body = npy(np.array([[True], [False]]))
    assert bench.value("/flip", body, NPY) == {"y": [[False], [True]]}


def test_an_array_is_for_one_input_of_numbers(bench: Uploads) -> None:
    text = bench.error("/", npy(np.ones(2)), NPY, 415)
    assert text.endswith("one input take an array; send application/x-npz")
    text = bench.error("/upper", npy(np.ones(2)), NPY)
    assert text == "input 'text': expected strings, got float64"
    assert bench.error("/double", b"[[1, 2]]", NPY) == "not an .npy file"
    assert bench.error("/double", npy(np.ones(LIMIT)), NPY, 413)


def test_an_archive_has_an_array_for_each_input(bench: Uploads) -> None:
    body = npz(weight=COLUMNS["weight"], vector=COLUMNS["vector"])
    assert bench.value("/", body, NPZ) == COLUMNS_OUT
    body = npz(weight=10, vector=[1, 2])
    assert bench.value("/", body, NPZ) == ROWS_OUT[0]


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({}, "input 'vector': missing"),
        ({"vector": [[1, 2]]}, "input 'weight': missing"),
        (
            {"vector": [[1, 2]], "weight": [1], "more": [1]},
            "input 'more': unknown; the inputs are: vector, weight",
        ),
        (
            {"vector": [[1, 2]], "weight": [1, 2]},
            "input 'weight': 2 rows, but input 'vector' has 1",
        ),
        (
            {"vector": [[1, 2]], "weight": [1.5]},
            "input 'weight': expected int64, got float64",
        ),
        (
            {"vector": [[1, 2]], "weight": 1},
            "input 'weight': expected shape [-1], got []",
        ),
    ],
)
def test_an_archive_that_does_not_fit_is_refused_by_input(
    bench: Uploads, arrays: Mapping[str, Any], text: str
) -> None:
    assert bench.error("/", npz(**arrays), NPZ) == text


def test_an_archive_may_not_become_larger_than_a_body(bench: Uploads) -> None:
    body = npz(vector=np.zeros((LIMIT, 2)), weight=np.zeros(LIMIT, int))
    assert len(body) < LIMIT
    text = bench.error("/", body, NPZ, 413)
    assert text == f"the request body is larger than {LIMIT} bytes"


def test_an_array_may_not_become_larger_than_tensors_may_be() -> None:
    limits = CallLimits(request_size=LIMIT, tensor_size=4000)
    bench = Uploads(methods=MORE_METHODS, limits=limits)
    bench.load()
    text = "input 'x': more bytes of tensors than one request may have"
    for size, status in ((500, 200), (501, 413)):
        array = np.zeros((size, 2), np.int8)
        answer = bench.send("/double", npy(array), NPY)
        assert answer.status == status
        form_answer = bench.send("/double", form(("x", npy(array), NPY)), FORM)
        assert form_answer.status == status
    assert answer.error == form_answer.error == text
    archive = npz(vector=np.zeros((300, 2), np.int8), weight=np.zeros(300, np.int8))
    assert bench.error("/", archive, NPZ, 413).startswith("input 'weight': more bytes")


# Forms


def test_each_part_is_a_row(bench: Uploads) -> None:
    body = form(("text", b"a\xff", "image/jpeg"), ("text", "b"))
    assert bench.value("/upper", body, FORM) == {"out": [{"b64": "Qf8="}, "B"]}
    assert bench.value("/upper", form(("text", "a")), FORM) == {"out": ["A"]}


def test_parts_of_several_inputs_are_put_together_in_order(bench: Uploads) -> None:
    body = form(
        ("weight", "10"), ("vector", "[1, 2]"), ("vector", "[3, 4]"), ("weight", "20")
    )
    assert bench.value("/", body, FORM) == COLUMNS_OUT


def test_a_part_of_json_or_an_array_may_be_a_row_or_a_column(bench: Uploads) -> None:
    vectors, weights = json.dumps(COLUMNS["vector"]), json.dumps(COLUMNS["weight"])
    kind = "application/json"
    for body in (
        form(("vector", vectors, kind), ("weight", weights, kind)),
        form(("vector", vectors), ("weight", "10"), ("weight", "20", "text/json")),
        form(("vector", npy(COLUMNS["vector"]), NPY), ("weight", weights)),
        form(
            ("vector", npy([1, 2]), NPY),
            ("vector", "[3, 4]"),
            ("weight", npy(10), NPY),
            ("weight", npy(20), NPY),
        ),
    ):
        assert bench.value("/", body, FORM) == COLUMNS_OUT


def test_strings_may_be_parts_of_json(bench: Uploads) -> None:
    kind = "application/json"
    body = form(("text", '"a"', kind), ("text", '{"b64": "Yg=="}', kind), ("text", '"'))
    assert bench.value("/upper", body, FORM) == {"out": ["A", "B", '"']}
    body = form(("text", '["a", "b"]', kind))
    assert bench.value("/upper", body, FORM) == {"out": ["A", "B"]}
    body = form(("text", '["a", "b"]', kind), ("text", '["c", "d"]', kind))
    assert bench.value("/pair", body, FORM) == {"out": [["A", "B"], ["C", "D"]]}


def test_urls_are_taken_from_parts_of_json_and_from_no_others() -> None:
    bench = Uploads(fetcher=Shelf({"http://a": b"aa"}))
    bench.load()
    url = '{"url": "http://a"}'
    body = form(("text", url, "application/json"), ("text", url))
    assert bench.value("/upper", body, FORM) == {"out": ["AA", url.upper()]}
    assert bench.value("/upper", url.encode(), "text/plain") == {"out": url.upper()}


def test_a_value_alone_stands_for_a_row_of_one(bench: Uploads) -> None:
    assert bench.value("/letters", form(("text", "a"), ("text", "b")), FORM) == {
        "out": [["A"], ["B"]]
    }
    assert bench.value("/column", form(("x", "1"), ("x", "[2]")), FORM) == {
        "y": [[-1], [-2]]
    }


def test_methods_without_rows_take_forms_too(bench: Uploads) -> None:
    assert bench.value("/one", form(("text", "a")), FORM) == {"out": "A"}
    assert bench.value("/scalar", form(("x", "3")), FORM) == {"y": 1.5}
    assert bench.value("/total", form(("x", "3"), ("x", "4")), FORM) == {"y": 7}
    assert bench.value("/total", form(("x", "[3, 4]")), FORM) == {"y": 7}
    assert bench.value("/flip", form(("x", "true")), FORM) == {"y": False}
    body = form(("x", "[true]"), ("x", "[false]"))
    assert bench.value("/flip", body, FORM) == {"y": [[False], [True]]}
    assert bench.value("/upper_any", form(("text", "a")), FORM) == {"out": "A"}
    assert bench.value("/answer", form(), FORM) == {"y": 42}


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        ("/upper", [], "input 'text': missing"),
        ("/upper", [("TEXT", "a")], "input 'text': missing"),
        (
            "/upper",
            [("text", "a"), ("more", "a")],
            "input 'more': unknown; the inputs are: text",
        ),
        (
            "/upper",
            [("text", "a"), ("text", "{", "application/json")],
            "input 'text'[1]: not JSON",
        ),
        (
            "/upper",
            [("text", "a"), ("text", "1", "application/json")],
            "input 'text'[1]: expected a string, got an integer",
        ),
        (
            "/upper",
            [("text", "a"), ("text", npy(1), NPY)],
            "input 'text'[1]: expected strings, got an array",
        ),
        ("/double", [("x", "[1, 2]"), ("x", "a")], "input 'x'[1]: not JSON"),
        (
            "/double",
            [("x", "[1, 2]"), ("x", "[1, null]")],
            "input 'x'[1][1]: expected a number, got null",
        ),
        (
            "/double",
            [("x", "[1, 2]"), ("x", "[1, 2, 3]")],
            "input 'x'[1]: expected shape [2], got [3]",
        ),
        (
            "/double",
            [("x", "[1, 2]"), ("x", "[[1, 2]]")],
            "input 'x'[1]: expected shape [2], got [1, 2]",
        ),
        ("/double", [("x", "1")], "input 'x'[0]: expected shape [2], got []"),
        (
            "/double",
            [("x", "[1, 2]"), ("x", "1", NPY)],
            "input 'x'[1]: not an .npy file",
        ),
        (
            "/double",
            [("x", "[1, 2]"), ("x", npy([1, 1e99]), NPY)],
            "input 'x'[1][1]: outside the range of float32",
        ),
        (
            "/double",
            [("x", npy([1, 2]), NPY), ("x", npy([1, 2, 3]), NPY)],
            "input 'x'[1]: not as long as its neighbours (ragged)",
        ),
        (
            "/double",
            [("x", npy([1, 2, 3]), NPY), ("x", npy([1, 2, 3]), NPY)],
            "input 'x': expected shape [-1, 2], got [2, 3]",
        ),
        (
            "/flip",
            [("x", "true"), ("x", "[true]")],
            "input 'x'[1]: not as long as its neighbours (ragged)",
        ),
        ("/one", [("text", "a")] * 2, "input 'text': expected shape [], got [2]"),
        (
            "/",
            [("vector", "[1, 2]"), ("weight", "1"), ("weight", "2")],
            "input 'weight': 2 rows, but input 'vector' has 1",
        ),
    ],
)
def test_a_form_that_does_not_fit_is_refused_by_input_and_part(
    bench: Uploads, path: str, fields: list[Field], text: str
) -> None:
    assert bench.error(path, form(*fields), FORM) == text


def test_a_part_of_text_in_anything_but_utf_8_is_refused(bench: Uploads) -> None:
    body = form(("text", "a", "text/plain; charset=latin-1"))
    assert bench.error("/upper", body, FORM, 415) == "text must be in UTF-8"


def test_a_form_has_so_many_parts_and_no_more(bench: Uploads) -> None:
    body = form(*[("text", "")] * PARTS)
    assert len(bench.value("/upper", body, FORM)["out"]) == PARTS
    text = bench.error("/upper", form(*[("text", "")] * (PARTS + 1)), FORM, 413)
    assert text == f"the request body has more than {PARTS} parts"


def test_a_broken_form_is_refused(bench: Uploads) -> None:
    assert bench.error("/upper", b"a", FORM).startswith("multipart: ")
    assert bench.error("/upper", form(), "multipart/form-data").startswith(
        "multipart: "
    )


# Under other sites


@pytest.mark.parametrize(
    ("body", "media_type", "coding"),
    [
        (b'{"text": "a"}', "application/x-www-form-urlencoded", "identity"),
        (b"a", "text/plain", "identity"),
        (gzip.compress(b"a"), "image/png", "gzip"),
        (form(("text", '["a"]', "application/json")), FORM, "identity"),
        (form(("text", b"a", "image/png")), FORM, "identity"),
    ],
)
def test_a_site_of_twisteds_own_lets_all_of_them_through(
    bench: Uploads, body: bytes, media_type: str, coding: str
) -> None:
    client = WebClient(bench.root, Site(bench.root, reactor=Clock()))
    headers = {"Content-Type": media_type, "Content-Encoding": coding}
    connection = client.begin("POST", "/upper", body, headers)
    bench.threads.finish()
    assert connection.answer().value["out"] in ("A", ["A"])


# Content-Encoding


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
)
@pytest.mark.parametrize(
    ("path", "body", "media_type"),
    [
        ("/upper", TEXT, None),
        ("/upper", form(("text", "a")), FORM),
        ("/upper", b"a", "text/plain"),
        ("/double", npy(np.ones((1, 2))), NPY),
    ],
)
def test_every_body_may_be_compressed(
    bench: Uploads, coding: str, compress: Any, path: str, body: bytes, media_type: str
) -> None:
    plain = bench.value(path, body, media_type)
    assert (
        bench.value(path, compress(body), media_type, Content_Encoding=coding) == plain
    )


def test_the_limit_is_for_the_body_that_comes_out(bench: Uploads) -> None:
    body = TEXT.ljust(LIMIT)
    assert bench.value("/upper", gzip.compress(body), None, Content_Encoding="gzip")
    bomb = gzip.compress(body + b" ")
    text = bench.error("/upper", bomb, None, 413, Content_Encoding="gzip")
    assert text == f"the request body is larger than {LIMIT} bytes"


def test_an_unknown_coding_is_refused_with_the_known_ones(bench: Uploads) -> None:
    for coding in ("br", "gzip, gzip"):
        answer = bench.send("/upper", TEXT, None, Content_Encoding=coding)
        assert (answer.status, answer["Accept-Encoding"]) == (415, "gzip, deflate")
        assert (
            answer.error == "the body may have one Content-Encoding of: gzip, deflate"
        )
    assert not bench.model.calls


def test_two_codings_in_two_headers_are_two(bench: Uploads) -> None:
    body = gzip.compress(gzip.compress(b"a"))
    head = (
        b"POST /upper HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n"
        b"Content-Encoding: gzip\r\ncontent-encoding: gzip\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    connection = Connection(bench.web.site)
    connection.send(head + body)
    assert connection.answer().status == 415


def test_what_is_not_compressed_as_it_says_is_refused(bench: Uploads) -> None:
    text = bench.error("/upper", TEXT, None, Content_Encoding="gzip")
    assert text == "the body is not what its Content-Encoding says"
