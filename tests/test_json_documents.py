"""What RFC 8259 calls JSON is taken, what it does not is refused, by every door."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.arrays import spec
from tests.json_documents import EITHER, NAUGHTY, NO, YES
from txinfer.errors import InferenceError, InvalidBody, NotJSON
from txinfer.forms import Form
from txinfer.jsonin import read
from txinfer.jsonout import write
from txinfer.limits import CallLimits
from txinfer.tensors import Signature
from txinfer.values import dumps, loads

LIMITS = CallLimits(json_depth=200_000, json_elements=300_000)


def signature(**types: str) -> Signature:
    """Inputs and outputs of these types and of any rank."""
    specs = {name: spec(type) for name, type in types.items()}
    return Signature(specs, specs)


# One that has a short way and one that has not.
SIGNATURES = signature(a="float64"), signature(a="string")


def short(document: bytes) -> str:
    """A test's name: what it is about, if it is not too long."""
    return ascii(document[:40])[2:-1]


def is_json(body: bytes, signed: Signature) -> bool:
    """Whether a request's body is taken for JSON, whatever else is wrong with it."""
    try:
        read(body, signed, LIMITS)
    except InferenceError as error:
        return not isinstance(error, NotJSON)
    return True


def test_there_are_as_many_documents_as_promised() -> None:
    for documents in (YES, NO, EITHER):
        assert len(set(documents)) == len(documents)
    assert len(YES) + len(NO) + len(EITHER) >= 250
    assert not set(YES) & set(NO)
    assert not (set(YES) | set(NO)) & set(EITHER)


@pytest.mark.parametrize("document", YES, ids=short)
def test_json_is_taken(document: bytes) -> None:
    # The standard library takes more, but not less.
    assert loads(document) == json.loads(document)
    for signed in SIGNATURES:
        assert is_json(document, signed)
        for around in (b'{"a":%s}', b'[{"a":%s}]', b'{"a":[%s]}'):
            assert is_json(around % document, signed)


@pytest.mark.parametrize("document", NO, ids=short)
def test_what_is_not_json_is_refused(document: bytes) -> None:
    with pytest.raises(NotJSON, match=r"^the body is not JSON: ") as caught:
        loads(document)
    assert caught.value.status == 400
    for signed in SIGNATURES:
        assert not is_json(document, signed)


#: Those that are not JSON alone, but become it in an array or an object.
BECOMES = {b"", b" ", b"\n\t\r ", b"1,2", b'"a":1', b'"a" "b"'}


@pytest.mark.parametrize(
    "document", [d for d in NO if d not in BECOMES and len(d) < 9999], ids=short
)
def test_what_is_not_json_is_refused_inside_of_it(document: bytes) -> None:
    for signed in SIGNATURES:
        for around in (b'{"a":%s}', b'[{"a":%s}]'):
            assert not is_json(around % document, signed)


@pytest.mark.parametrize("document", EITHER, ids=short)
def test_what_may_be_json_has_one_answer(document: bytes) -> None:
    try:
        loads(document)
        taken = True
    except InvalidBody:
        taken = False
    for signed in SIGNATURES:
        assert is_json(document, signed) == taken


@pytest.mark.parametrize(
    ("document", "taken"),
    [
        (b'{"a":1,"a":2}', True),  # the last counts
        (b"\xef\xbb\xbf[]", False),
        (b'"\\ud800"', False),
        (b"1e309", False),
        (b"1e-400", True),
        (b"18446744073709551616", True),
        (b"[" * 2000 + b"]" * 2000, False),
    ],
)
def test_what_may_be_json_is_decided_so(document: bytes, taken: bool) -> None:
    assert document in EITHER
    assert is_json(document, SIGNATURES[0]) == taken


def test_of_a_name_that_is_there_twice_the_last_value_counts() -> None:
    for body in (b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}'):
        (call,) = read(body, SIGNATURES[0], LIMITS).calls
        assert call["a"].array.tolist() == 2.0


# Texts that have made trouble


@pytest.mark.parametrize("text", NAUGHTY, ids=ascii)
@pytest.mark.parametrize("escaped", [True, False])
def test_any_text_is_a_value(text: str, escaped: bool) -> None:
    body = json.dumps({"a": [text]}, ensure_ascii=escaped).encode()
    (call,) = read(body, SIGNATURES[1], LIMITS).calls
    array = call["a"].array
    assert array.tolist() == [text.encode()]
    answer = write(SIGNATURES[1], [{"a": array}], Form.COLUMNS)
    assert json.loads(answer) == {"a": [text]}


@pytest.mark.parametrize("text", NAUGHTY, ids=ascii)
@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize(("type", "value"), [("int64", 7), ("string", "v")])
def test_any_text_is_a_name(text: str, escaped: bool, type: str, value: object) -> None:
    signed = signature(**{text: type, text + "2": type})
    body = json.dumps({text: value, text + "2": [value]}, ensure_ascii=escaped)
    (call,) = read(body.encode(), signed, LIMITS).calls
    tensors = {name: parsed.array for name, parsed in call.items()}
    assert list(tensors) == [text, text + "2"]
    answer = write(signed, [tensors], Form.COLUMNS)
    assert json.loads(answer) == {text: value, text + "2": [value]}


@pytest.mark.parametrize("text", NAUGHTY, ids=ascii)
def test_any_text_is_refused_as_a_number_and_as_an_unknown_name(text: str) -> None:
    for value in (text, [text], {text: text}):
        with pytest.raises(InferenceError, match="expected a number"):
            read(dumps({"a": value}), SIGNATURES[0], LIMITS)
    if text != "a":
        with pytest.raises(InferenceError, match=r"^input 'a': missing$"):
            read(dumps({text: 1}), SIGNATURES[0], LIMITS)
        with pytest.raises(
            InferenceError, match="unknown; the inputs are: a"
        ) as caught:
            read(dumps({"a": 1, text: 1}), SIGNATURES[0], LIMITS)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


def test_an_error_text_is_json_whatever_the_name() -> None:
    for text in NAUGHTY:
        error: Any = None
        try:
            read(dumps({text: 1}), signature(**{"b" + text: "int8"}), LIMITS)
        except InferenceError as raised:
            error = raised
        assert json.loads(dumps({"error": str(error)})) == {"error": str(error)}


@pytest.mark.parametrize("text", NAUGHTY, ids=ascii)
def test_any_text_comes_back_from_a_model_as_it_was(text: str) -> None:
    array = np.array([[text.encode()]], object)
    answer = write(SIGNATURES[1], [{"a": array}], Form.COLUMNS)
    assert loads(answer) == {"a": [[text]]}
