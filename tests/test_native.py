"""The native dialect from request to response; only the model is made up."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np
import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.deferreds import result
from tests.memory import Function, MemoryModel, spec
from tests.pool import SteppedThreads
from tests.web_client import LIMIT, Answer, Connection, WebClient
from txinfer.collector import Collector
from txinfer.deadlines import due
from txinfer.errors import FetchFailed, InputRefused, ModelFailed
from txinfer.interfaces import IFetcher
from txinfer.limits import CallLimits
from txinfer.madeup import png
from txinfer.metrics import Metrics
from txinfer.models import Servable
from txinfer.policy import BatchPolicy
from txinfer.probe import SHOWN
from txinfer.protocols.native import Dialect
from txinfer.routing import Api
from txinfer.tensors import Signature, Tensors
from txinfer.web import CORS_HEADERS, PREFLIGHT_HEADERS, Root

# Signatures, each with a function


def signature(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Signature:
    """A signature from (dtype, shape) pairs."""
    return Signature(
        {name: spec(*pair) for name, pair in inputs.items()},
        {name: spec(*pair) for name, pair in outputs.items()},
    )


def weigh(tensors: Tensors) -> Tensors:
    """A vector and a number a row; a vector, a number and a text come out."""
    product = tensors["vector"] * tensors["weight"][:, None]
    texts = [b"%d" % number for number in tensors["weight"]]
    return {
        "product": product,
        "sum": product.sum(axis=1),
        "text": np.array(texts, object),
    }


WEIGH = signature(
    {"vector": ("float32", (None, 2)), "weight": ("int64", (None,))},
    {
        "product": ("float32", (None, 2)),
        "sum": ("float32", (None,)),
        "text": ("string", (None,)),
    },
)


def upper(tensors: Tensors) -> Tensors:
    texts = tensors["text"]
    answers = [text.upper() for text in texts.flat]
    return {"out": np.fromiter(answers, object, texts.size).reshape(texts.shape)}


UPPER = signature({"text": ("string", (None,))}, {"out": ("string", (None,))})

LIMITS = CallLimits(request_size=LIMIT)

METHODS: dict[str, tuple[Signature, Function]] = {
    "serving_default": (WEIGH, weigh),
    "upper": (UPPER, upper),
    "upper_any": (
        signature({"text": ("string", None)}, {"out": ("string", None)}),
        upper,
    ),
    "answer": (
        signature({}, {"y": ("int32", ())}),
        lambda tensors: {"y": np.array(42, np.int32)},
    ),
    "scalar": (
        signature({"x": ("float64", ())}, {"y": ("float64", ())}),
        lambda tensors: {"y": np.asarray(tensors["x"] / 2)},
    ),
    "total": (
        signature({"x": ("int32", (None,))}, {"y": ("int32", ())}),
        lambda tensors: {"y": np.asarray(tensors["x"].sum(dtype=np.int32))},
    ),
    "odd": (
        signature({"x": ("float32", (None,))}, {"y": ("float32", (None,))}),
        lambda tensors: {"y": np.full_like(tensors["x"], np.nan)},
    ),
    "a/b é": (UPPER, upper),
}


@implementer(IFetcher)
@attrs.define(eq=False)
class Shelf:
    """A fetcher of what is in ``bodies``; what is None there is still coming.

    ``coming`` are the fetches of which something is.
    """

    bodies: dict[str, bytes | None] = attrs.field(factory=dict)
    fetched: list[str] = attrs.field(factory=list)
    clients: list[str] = attrs.field(factory=list)
    coming: list[Deferred[list[bytes]]] = attrs.field(factory=list)
    cancelled: list[str] = attrs.field(factory=list)

    def fetch(
        self, urls: Sequence[str], client: str = "", most: int | None = None
    ) -> Deferred[list[bytes]]:
        self.fetched += urls
        self.clients.append(client)
        bodies = [self.bodies.get(url, b"") for url in urls]
        if b"" in bodies:
            position = bodies.index(b"")
            return fail(FetchFailed("10.0.0.1 is secret", "denied", position))
        if None in bodies:
            self.coming.append(Deferred(lambda _: self.cancelled.extend(urls)))
            return self.coming[-1]
        return succeed([body for body in bodies if body])


class Bench:
    """A model with all its methods, served natively, with nothing real below."""

    def __init__(
        self,
        batch_transpose: bool = False,
        fetcher: IFetcher | None = None,
        cors: bool = False,
        methods: Mapping[str, tuple[Signature, Function]] = METHODS,
        limits: CallLimits = LIMITS,
    ) -> None:
        self.clock = Clock()
        self.threads = SteppedThreads(1, self.clock)
        self.told = Metrics(self.clock)
        self.model = MemoryModel(
            {name: method[0] for name, method in methods.items()},
            {name: method[1] for name, method in methods.items()},
        )
        collector = Collector(self.threads, self.clock, BatchPolicy(), self.told)
        self.servable = Servable(lambda: self.model, self.threads, collector)
        dialect = Dialect(
            self.servable,
            fetcher,
            limits,
            self.clock,
            batch_transpose,
            self.told,
        )
        self.root = Root(
            Api(dialect.router()),
            CORS_HEADERS if cors else (),
            PREFLIGHT_HEADERS if cors else (),
            observer=self.told,
            due=partial(due, limits=limits, clock=self.clock),
        )
        self.web = WebClient(self.root)

    def load(self) -> Bench:
        loaded = Deferred.fromCoroutine(self.servable.load())
        self.threads.finish()
        result(loaded)
        self.model.calls.clear()
        return self

    def get(self, path: str) -> Answer:
        return self.web.get(path)

    def begin(self, path: str, value: object) -> Connection:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.web.begin("POST", path, body, {"Content-Type": "application/json"})

    def post(self, path: str, value: object) -> Answer:
        connection = self.begin(path, value)
        self.threads.finish()
        return connection.answer()

    def call(self, path: str, value: object) -> Any:
        """The value that a call is answered with."""
        answer = self.post(path, value)
        assert answer.status == 200, answer.value
        return answer.value

    def refuse(self, path: str, value: object, status: int = 400) -> str:
        """The text that a call is refused with, without a run."""
        answer = self.post(path, value)
        assert answer.status == status
        assert not self.model.calls
        return answer.error


@pytest.fixture
def bench() -> Bench:
    return Bench().load()


@pytest.fixture
def transposing() -> Bench:
    return Bench(batch_transpose=True).load()


def test_what_the_doubles_promise() -> None:
    verifyObject(IFetcher, Shelf())


# Listing


def test_the_root_lists_the_methods_in_their_order(bench: Bench) -> None:
    answer = bench.get("/")
    assert answer.status == 200
    assert [method["name"] for method in answer.value] == list(METHODS)
    assert answer.value[0] == {
        "name": "serving_default",
        "inputs": {
            "vector": {"type": "float32", "shape": [-1, 2]},
            "weight": {"type": "int64", "shape": [-1]},
        },
        "outputs": {
            "product": {"type": "float32", "shape": [-1, 2]},
            "sum": {"type": "float32", "shape": [-1]},
            "text": {"type": "string", "shape": [-1]},
        },
        "batched": True,
        "reason": SHOWN,
    }


def test_a_method_is_listed_by_its_name(bench: Bench) -> None:
    listing = bench.get("/").value
    for method, path in zip(listing, METHODS, strict=True):
        quoted = path.replace(" ", "%20").replace("é", "%C3%A9")
        assert bench.get(f"/{quoted}").value == method


def test_the_listing_tells_unknown_rank_and_why_a_method_is_direct(
    bench: Bench,
) -> None:
    listed = bench.get("/upper_any").value
    assert listed["inputs"] == {"text": {"type": "string", "shape": None}}
    assert not listed["batched"]
    assert listed["reason"] == "dimension 0 of input 'text' is not free"


def test_head_is_get_without_the_body(bench: Bench) -> None:
    for path in ("/", "/upper", "/nope"):
        got, head = bench.get(path), bench.web.ask("HEAD", path)
        assert head.status == got.status
        assert head.body == b""
        assert head["Content-Length"] == str(len(got.body))
        assert head["Content-Type"] == "application/json"


# Columns, row and rows

COLUMNS = {"vector": [[1, 2], [3, 4]], "weight": [10, 20]}
COLUMNS_OUT = {
    "product": [[10.0, 20.0], [60.0, 80.0]],
    "sum": [30.0, 140.0],
    "text": ["10", "20"],
}
ROWS = [{"vector": [1, 2], "weight": 10}, {"weight": 20, "vector": [3, 4]}]
ROWS_OUT = [
    {"product": [10.0, 20.0], "sum": 30.0, "text": "10"},
    {"product": [60.0, 80.0], "sum": 140.0, "text": "20"},
]


def test_columns_are_answered_in_columns(bench: Bench) -> None:
    assert bench.call("/", COLUMNS) == COLUMNS_OUT
    assert bench.call("/serving_default", COLUMNS) == COLUMNS_OUT


def test_the_order_of_columns_does_not_matter(bench: Bench) -> None:
    turned = dict(reversed(COLUMNS.items()))
    assert bench.call("/", turned) == COLUMNS_OUT


@pytest.mark.parametrize("batch_transpose", [False, True])
def test_rows_are_answered_in_rows_whatever_the_order_of_their_keys(
    batch_transpose: bool,
) -> None:
    bench = Bench(batch_transpose).load()
    assert bench.call("/", ROWS) == ROWS_OUT
    assert bench.call("/", ROWS[::-1]) == ROWS_OUT[::-1]
    assert [len(call["weight"]) for call in bench.model.calls] == [2, 2]


@pytest.mark.parametrize("batch_transpose", [False, True])
def test_one_row_is_answered_by_one_row(batch_transpose: bool) -> None:
    bench = Bench(batch_transpose).load()
    assert [bench.call("/", row) for row in ROWS] == ROWS_OUT


def test_with_the_flag_an_object_is_never_columns(transposing: Bench) -> None:
    text = transposing.refuse("/", COLUMNS)
    assert text == "input 'vector': expected shape [-1, 2], got [1, 2, 2]"


def test_no_rows_are_answered_by_none(bench: Bench) -> None:
    assert bench.call("/", []) == []
    assert not bench.model.calls


def test_many_rows_leave_in_few_runs(bench: Bench) -> None:
    rows = [{"vector": [n, n], "weight": n} for n in range(100)]
    answers = bench.call("/", rows)
    assert [answer["text"] for answer in answers] == [str(n) for n in range(100)]
    assert len(bench.model.calls) == 4


def test_clients_share_runs_and_get_their_own_answers(bench: Bench) -> None:
    connections = [
        bench.begin("/upper", {"text": f"a{n}"} if n % 2 else {"text": [f"a{n}"]})
        for n in range(64)
    ]
    assert bench.threads.finish() == 3
    for n, connection in enumerate(connections):
        out = f"A{n}" if n % 2 else [f"A{n}"]
        assert connection.answer().value == {"out": out}


def test_a_client_that_hangs_up_takes_its_call_along(bench: Bench) -> None:
    connections = [bench.begin("/upper", {"text": [f"{n}"]}) for n in range(4)]
    connections[2].hang_up()
    bench.threads.finish()
    texts = [text for call in bench.model.calls for text in call["text"]]
    assert texts == [b"0", b"1", b"3"]
    assert connections[3].answer().value == {"out": ["3"]}


# Methods that are called one by one


def test_a_method_without_inputs_is_called_by_an_empty_object(bench: Bench) -> None:
    assert bench.call("/answer", {}) == {"y": 42}
    assert bench.call("/answer", b"") == {"y": 42}
    assert bench.call("/answer", [{}, {}]) == [{"y": 42}, {"y": 42}]


@pytest.mark.parametrize("batch_transpose", [False, True])
def test_an_example_of_a_direct_method_is_a_whole_call(batch_transpose: bool) -> None:
    bench = Bench(batch_transpose).load()
    assert bench.call("/scalar", {"x": 1}) == {"y": 0.5}
    assert bench.call("/scalar", [{"x": 1}, {"x": 2}]) == [{"y": 0.5}, {"y": 1.0}]
    assert bench.call("/total", {"x": [1, 2]}) == {"y": 3}
    assert bench.call("/total", [{"x": [1, 2]}, {"x": []}]) == [{"y": 3}, {"y": 0}]
    assert bench.call("/answer", {}) == {"y": 42}


def test_an_unknown_rank_takes_any(bench: Bench) -> None:
    for text in ("a", ["a"], [["a"], ["b"]], []):
        upper = json.loads(json.dumps(text).upper())
        assert bench.call("/upper_any", {"text": text}) == {"out": upper}


def test_a_method_shown_to_mix_rows_takes_rows_one_by_one() -> None:
    def center(tensors: Tensors) -> Tensors:
        return {"y": tensors["x"] - tensors["x"].mean()}

    mixing = signature({"x": ("float32", (None,))}, {"y": ("float32", (None,))})
    bench = Bench(methods={"serving_default": (mixing, center)}).load()
    assert not bench.get("/").value[0]["batched"]
    assert bench.call("/", {"x": [1, 3]}) == {"y": [-1.0, 1.0]}
    assert bench.call("/", [{"x": 1}, {"x": 3}]) == [{"y": 0.0}, {"y": 0.0}]
    assert bench.call("/", {"x": 3}) == {"y": 0.0}
    bench.model.calls.clear()
    assert bench.refuse("/", [{"x": "1"}]) == (
        "input 'x'[0]: expected a number, got a string"
    )


def test_a_direct_method_without_a_row_for_each_row_asks_for_columns() -> None:
    def halve(tensors: Tensors) -> Tensors:
        return {"y": tensors["x"][::2]}

    halving = signature({"x": ("float32", (None,))}, {"y": ("float32", (None,))})

    def none(tensors: Tensors) -> Tensors:
        return {"y": tensors["x"][:0]}

    for function in (halve, none):
        bench = Bench(methods={"serving_default": (halving, function)}).load()
        kept = len(function({"x": np.zeros(3)})["y"])
        assert bench.call("/", {"x": [5, 6, 7]})["y"] == [5.0, 7.0][:kept]
    answer = bench.post("/", [{"x": 5}])
    assert answer.status == 400
    assert answer.error.endswith("send columns instead")


# Refusals


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "input 'vector': missing"),
        ({"vector": [[1, 2]]}, "input 'weight': missing"),
        (
            {**COLUMNS, "more": 1},
            "input 'more': unknown; the inputs are: vector, weight",
        ),
        (
            {**COLUMNS, "weight": [1]},
            "input 'weight': 1 rows, but input 'vector' has 2",
        ),
        (
            {**COLUMNS, "weight": [1, 2.5]},
            "input 'weight'[1]: expected an integer, got a float",
        ),
        (
            {**COLUMNS, "vector": [[1, 2], [3, "4"]]},
            "input 'vector'[1][1]: expected a number, got a string",
        ),
        (
            {**COLUMNS, "vector": [[1, 2], [3]]},
            "input 'vector'[1]: not as long as its neighbours (ragged)",
        ),
        (
            {**COLUMNS, "vector": [[1], [3]]},
            "input 'vector': expected shape [-1, 2], got [2, 1]",
        ),
        (
            {"vector": [1, 2], "weight": [1]},
            "input 'vector': expected shape [-1, 2], got [2]",
        ),
        (
            {"vector": None, "weight": 1},
            "input 'vector': expected shape [-1, 2], got []",
        ),
        ([{"vector": [1, 2], "weight": 1}, {}], "input 'vector'[1]: missing"),
        (
            [*ROWS, {**ROWS[0], "more": 1}],
            "input 'more'[2]: unknown; the inputs are: vector, weight",
        ),
        (
            [*ROWS, {"vector": [1, None], "weight": 1}],
            "input 'vector'[2][1]: expected a number, got null",
        ),
        (
            [*ROWS, {"vector": [1], "weight": 1}],
            "input 'vector'[2]: not as long as its neighbours (ragged)",
        ),
        (
            [*ROWS, {"vector": [1, 2], "weight": [1]}],
            "input 'weight'[2]: not as long as its neighbours (ragged)",
        ),
        ([*ROWS, 1], "[2] of the list is not a JSON object"),
        ([[1]], "[0] of the list is not a JSON object"),
        (1, "the body must be a JSON object or a list of objects"),
        ("x", "the body must be a JSON object or a list of objects"),
        (None, "the body must be a JSON object or a list of objects"),
    ],
)
def test_what_does_not_fit_is_refused_by_input_and_index(
    bench: Bench, value: object, text: str
) -> None:
    assert bench.refuse("/", value) == text


def test_no_columns_of_rows_are_refused(bench: Bench) -> None:
    text = bench.refuse("/upper", {"text": []})
    assert text == "input 'text': at least one row is needed"


def test_long_names_are_cut_in_errors(bench: Bench) -> None:
    text = bench.refuse("/", {"a" * 5000: 1})
    assert len(text) < 200


def test_an_example_that_is_called_alone_is_refused_by_its_place(bench: Bench) -> None:
    text = bench.post("/total", [{"x": [1]}, {"x": [2, "3"]}]).error
    assert text == "input 'x'[1][1]: expected an integer, got a string"


@pytest.mark.parametrize("body", [b"{", b"\xff", b"{'x': 1}", b"NaN", b'{"x": NaN}'])
def test_bad_json_is_refused(bench: Bench, body: bytes) -> None:
    assert bench.refuse("/", body).startswith("the body is not JSON: ")


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "text/json",
        "application/x-www-form-urlencoded",
        "application/vnd.api+json",
        "",
    ],
)
def test_a_body_may_say_json_or_what_curl_says(bench: Bench, media_type: str) -> None:
    connection = bench.web.begin(
        "POST", "/upper", b'{"text": ["a"]}', {"Content-Type": media_type}
    )
    bench.threads.finish()
    assert connection.answer().value == {"out": ["A"]}


def test_a_body_that_is_too_large_is_refused(bench: Bench) -> None:
    assert bench.refuse("/", b"[" + b" " * LIMIT, 413)


def test_a_body_that_is_too_large_is_refused_under_any_site(bench: Bench) -> None:
    client = WebClient(bench.root, Site(bench.root, reactor=Clock()))
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413)):
        answer = client.ask("POST", "/", b"[]".ljust(size))
        assert answer.status == status
    assert answer.error == f"the request body is larger than {LIMIT} bytes"


# Strings


def test_strings_are_text_or_bytes_in_and_out(bench: Bench) -> None:
    value = {"text": ["é", {"b64": base64.b64encode(b"a\xff").decode()}]}
    assert bench.call("/upper", value) == {"out": ["é", {"b64": "Qf8="}]}
    row = {"text": {"b64": "Qf8="}}
    assert bench.call("/upper", row) == {"out": {"b64": "Qf8="}}
    assert bench.call("/upper", [row]) == [{"out": {"b64": "Qf8="}}]


def test_there_are_no_tokens_that_are_not_json(bench: Bench) -> None:
    assert bench.call("/odd", {"x": [1, 2]}) == {"y": [None, None]}
    assert bench.call("/odd", {"x": 1}) == {"y": None}
    assert bench.call("/odd", [{"x": 1}]) == [{"y": None}]


# URLs

A, B = {"url": "http://a"}, {"url": "http://b"}


def test_urls_are_fetched_once_each_and_put_where_they_were() -> None:
    shelf = Shelf({"http://a": b"aa", "http://b": b"bb"})
    bench = Bench(fetcher=shelf).load()
    assert bench.call("/upper", {"text": [A, "c", B, A]}) == {
        "out": ["AA", "C", "BB", "AA"]
    }
    assert shelf.fetched == ["http://a", "http://b"]
    assert bench.call("/upper", {"text": B}) == {"out": "BB"}
    assert bench.call("/upper", [{"text": B}]) == [{"out": "BB"}]
    assert bench.call("/upper_any", {"text": B}) == {"out": "BB"}


def test_a_call_waits_for_its_urls() -> None:
    shelf = Shelf({"http://a": None, "http://b": b"b"})
    bench = Bench(fetcher=shelf).load()
    connection = bench.begin("/upper", {"text": [A, B]})
    assert not bench.threads.started
    shelf.coming[0].callback([b"a", b"b"])
    bench.threads.finish()
    assert connection.answer().value == {"out": ["A", "B"]}


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("/upper", {"text": ["x", A]}, "[1]"),
        ("/upper", [{"text": "x"}, {"text": "x"}, {"text": A}], "[2]"),
        ("/upper_any", {"text": [["x"], [A]]}, "[1][0]"),
        ("/upper_any", {"text": A}, ""),
        ("/upper_any", [{"text": "x"}, {"text": [["x"], [A]]}], "[1][1][0]"),
    ],
)
def test_a_fetch_that_fails_is_told_by_input_and_index_without_a_reason(
    path: str, value: object, place: str
) -> None:
    bench = Bench(fetcher=Shelf()).load()
    text = bench.refuse(path, value)
    assert text == f"input 'text'{place}: the URL could not be fetched"


def test_fetches_know_for_whom_they_are() -> None:
    shelf = Shelf({"http://a": b"a"})
    bench = Bench(fetcher=shelf).load()
    for path, value in (
        ("/upper", {"text": A}),
        ("/upper", {"text": [A]}),
        ("/upper", [{"text": A}]),
        ("/upper_any", [{"text": A}]),
    ):
        bench.call(path, value)
    assert shelf.clients == ["192.168.1.1"] * 4


def test_when_the_client_hangs_up_fetches_are_stopped() -> None:
    shelf = Shelf({"http://a": None})
    bench = Bench(fetcher=shelf).load()
    bench.begin("/upper", {"text": [A]}).hang_up()
    assert shelf.cancelled == ["http://a"]
    assert not bench.threads.started


def test_urls_are_refused_where_none_are_taken(bench: Bench) -> None:
    text = bench.refuse("/upper", {"text": ["x", A]})
    assert text == "input 'text': URLs are not taken here"


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("/upper", {"text": [A] * 65}, "'text'"),
        ("/upper", [{"text": A}] * 65, "'text'"),
        # Each row is a call of its own.
        ("/upper_any", [{"text": A}] * 65, "'text'[0]"),
        ("/upper_any", [{"text": [A] * 64}, {"text": A}], "'text'[0]"),
    ],
)
def test_one_request_has_so_many_urls_and_no_more(
    path: str, value: object, place: str
) -> None:
    shelf = Shelf({"http://a": b"a"})
    bench = Bench(fetcher=shelf).load()
    assert bench.call("/upper", {"text": [A] * 64})
    bench.model.calls.clear()
    shelf.fetched.clear()
    assert (
        bench.refuse(path, value) == f"input {place}: more than 64 URLs in one request"
    )
    assert not shelf.fetched


def test_the_calls_of_a_request_share_their_urls() -> None:
    shelf = Shelf({"http://a": None, "http://b": b"b"})
    bench = Bench(fetcher=shelf).load()
    connection = bench.begin("/upper_any", [{"text": A}, {"text": B}, {"text": A}])
    assert shelf.fetched == ["http://a", "http://b"]
    assert not bench.threads.started
    shelf.coming[0].callback([b"a", b"b"])
    bench.threads.finish()
    assert connection.answer().value == [{"out": "A"}, {"out": "B"}, {"out": "A"}]
    assert shelf.fetched == ["http://a", "http://b"]


def test_urls_are_not_fetched_again_when_a_method_turns_out_to_be_direct() -> None:
    def lossy(tensors: Tensors) -> Tensors:
        texts = tensors["text"]
        return {"out": texts[:1] if b"gone" in texts.tolist() else texts}

    shelf = Shelf({"http://a": b"a", "http://b": b"gone"})
    bench = Bench(fetcher=shelf, methods={"f": (UPPER, lossy)}).load()
    rows = [{"text": A}, {"text": B}]
    assert bench.get("/f").value["batched"]
    assert bench.call("/f", rows) == [{"out": "a"}, {"out": "gone"}]
    assert not bench.get("/f").value["batched"]
    assert shelf.fetched == ["http://a", "http://b"]


def test_url_objects_mean_nothing_to_numbers(bench: Bench) -> None:
    text = bench.refuse("/total", {"x": [A]})
    assert text == "input 'x'[0]: expected an integer, got an object"


def test_a_fetch_that_breaks_down_is_answered() -> None:
    shelf = Shelf({"http://a": None})
    bench = Bench(fetcher=shelf).load()
    for error in (RuntimeError("secret"), CancelledError()):
        connection = bench.begin("/upper", {"text": [A]})
        shelf.coming.pop().errback(error)
        answer = connection.answer()
        assert (answer.status, answer.error) == (500, "internal error")


# Paths and verbs


@pytest.mark.parametrize("path", ["/nope", "/upper/", "/UPPER", "/%00", "/a/b", "/..."])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_method_is_answered_by_the_known_ones(
    bench: Bench, method: str, path: str
) -> None:
    answer = bench.web.ask(method, path, b"{}")
    assert answer.status == 404
    assert answer.error.endswith(f"; known: {', '.join(METHODS)}")


def test_doubled_slashes_are_not_redirected(bench: Bench) -> None:
    # The body of a POST would be lost on the way.
    assert bench.get("//upper").body == bench.get("/upper").body
    assert bench.call("//upper", {"text": "a"}) == {"out": "A"}
    assert bench.call("//", COLUMNS) == COLUMNS_OUT
    for path in ("//a//b", "/upper//"):
        assert bench.get(path).status == 404
        assert bench.get(path).error


@pytest.mark.parametrize("path", ["/%ff", "/upper%c3", "/a/%ff/b"])
def test_a_path_that_is_not_utf_8_is_refused(bench: Bench, path: str) -> None:
    answer = bench.get(path)
    assert (answer.status, answer.error) == (400, "the URL's path is not UTF-8")


@pytest.mark.parametrize("host", ["\xff", "a..b", "a" * 64, "é", "[::1]:80", ""])
def test_no_host_header_makes_trouble(bench: Bench, host: str) -> None:
    answer = bench.web.get("/", Host=host)
    assert answer.status in (200, 400)
    assert answer.value


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]
)
@pytest.mark.parametrize("path", ["/", "/upper", "/nope"])
def test_another_verb_is_answered_by_those_allowed(
    bench: Bench, method: str, path: str
) -> None:
    answer = bench.web.ask(method, path)
    assert (answer.status, answer.error) == (405, "method not allowed")
    allowed = answer["Allow"] or ""
    assert set(allowed.split(", ")) == {"GET", "HEAD", "POST"}


def test_a_query_is_ignored(bench: Bench) -> None:
    assert bench.get("/upper?a=b&c=%ff").status == 200


# Failures


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ValueError("secret"), 500, "the model failed (INTERNAL)"),
        (KeyboardInterrupt("secret"), 500, "the model failed (INTERNAL)"),
        (ModelFailed("ABORTED"), 500, "the model failed (ABORTED)"),
        (
            InputRefused("INVALID_ARGUMENT"),
            400,
            "the model refused this input (INVALID_ARGUMENT)",
        ),
    ],
)
def test_a_model_that_fails_is_told_without_its_words(
    error: BaseException, status: int, text: str
) -> None:
    def broken(tensors: Tensors) -> Tensors:
        if b"bad" in tensors["text"]:
            raise error
        return upper(tensors)

    bench = Bench(methods={"upper": (UPPER, broken)}).load()
    connections = [
        bench.begin("/upper", {"text": [word]}) for word in ("a", "b", "bad", "c")
    ]
    bench.threads.finish()
    answers = [connection.answer() for connection in connections]
    assert [answer.status for answer in answers] == [200, 200, status, 200]
    assert answers[2].error == text


def test_outputs_that_are_not_as_promised_are_a_failure() -> None:
    bench = Bench(methods={"upper": (UPPER, lambda tensors: {"no": tensors["text"]})})
    answer = bench.load().post("/upper", {"text": ["a"]})
    assert (answer.status, answer.error) == (500, "internal error")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/a"), ("POST", "/")]
)
def test_calls_are_put_off_while_the_model_loads(method: str, path: str) -> None:
    answer = Bench().web.ask(method, path, b"{}")
    assert (answer.status, answer.error) == (503, "the model is still loading")
    assert answer["Retry-After"] == "1"


def test_calls_are_put_off_while_the_server_stops(bench: Bench) -> None:
    connection = bench.begin("/upper", {"text": ["a"]})
    retired = bench.servable.retire()
    answer = bench.post("/upper", {"text": ["b"]})
    assert (answer.status, answer.error) == (503, "the server is shutting down")
    assert connection.answer().value == {"out": ["A"]}
    result(retired)


# Scripts of other origins


def test_every_answer_is_for_scripts_of_every_origin() -> None:
    bench = Bench(cors=True).load()
    for path in ("/", "/nope", "/%ff", "//"):
        answer = bench.web.get(path, Origin="http://a")
        assert answer["Access-Control-Allow-Origin"] == "*"
        assert answer["Access-Control-Expose-Headers"] == "*"
    assert bench.post("/", COLUMNS)["Access-Control-Allow-Origin"] == "*"
    refused = bench.web.ask("PUT", "/")
    assert (refused.status, refused["Access-Control-Allow-Origin"]) == (405, "*")


PREFLIGHT = {
    "Origin": "http://a",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}


@pytest.mark.parametrize("path", ["/", "/upper", "/nope"])
def test_scripts_may_ask_first(path: str) -> None:
    for bench in (Bench(cors=True).load(), Bench(cors=True)):
        answer = bench.web.ask("OPTIONS", path, None, PREFLIGHT)
        assert (answer.status, answer.body) == (204, b"")
        assert answer["Content-Length"] is None
        assert answer["Access-Control-Allow-Origin"] == "*"
        assert "POST" in (answer["Access-Control-Allow-Methods"] or "")
        assert "*" in (answer["Access-Control-Allow-Headers"] or "")
        assert answer["Access-Control-Max-Age"] == "86400"


def test_without_cors_nothing_is_said_of_origins(bench: Bench) -> None:
    assert bench.web.ask("OPTIONS", "/", None, PREFLIGHT).status == 405
    for answer in (bench.web.get("/", Origin="http://a"), bench.get("/nope")):
        names = [name.lower() for name in answer.headers]
        assert not [name for name in names if name.startswith("access-control")]


# Elsewhere in a site


@pytest.mark.parametrize("base", ["/api", "/deep/er"])
def test_it_works_under_any_path_of_any_site(bench: Bench, base: str) -> None:
    top = Resource()
    parent, *children = base.encode().strip(b"/").split(b"/")
    if children:
        folder = Resource()
        top.putChild(parent, folder)
        folder.putChild(children[0], bench.root)
    else:
        top.putChild(parent, bench.root)
    top.putChild(b"other", Resource())
    client = WebClient(top, Site(top, reactor=Clock()))
    listing = bench.get("/").body
    assert client.get(base).body == listing
    assert client.get(f"{base}/").body == listing
    assert client.get(f"{base}/upper").body == bench.get("/upper").body
    assert client.get(f"{base}/nope").error.startswith("no method 'nope'; known: ")
    assert client.get(f"{base}//upper").status == 200
    assert client.get("/upper").status == 404
    for path, value in ((base, COLUMNS), (f"{base}/", COLUMNS)):
        connection = client.begin("POST", path, json.dumps(value).encode())
        bench.threads.finish()
        assert connection.answer().value == COLUMNS_OUT
    connection = client.begin("POST", f"{base}/upper", b'{"text": "a"}')
    bench.threads.finish()
    assert connection.answer().value == {"out": "A"}
    assert client.ask("PUT", base).status == 405


# Limits


def limited(**limits: Any) -> Bench:
    fetcher = Shelf({"http://a": png(4, 0)})
    return Bench(
        fetcher=fetcher, limits=CallLimits(request_size=LIMIT, **limits)
    ).load()


PNG = {"b64": base64.b64encode(png(4, 0)).decode()}


@pytest.mark.parametrize("image", [PNG, A])
@pytest.mark.parametrize(
    ("path", "form", "place"),
    [
        ("/upper", lambda image: {"text": ["", image]}, "[1]"),
        ("/upper", lambda image: {"text": image}, ""),
        ("/upper", lambda image: [{"text": ""}, {"text": image}], "[1]"),
        ("/upper_any", lambda image: {"text": [["", image]]}, "[0][1]"),
        ("/upper_any", lambda image: [{"text": ""}, {"text": ["", image]}], "[1][1]"),
    ],
)
def test_an_image_that_is_too_large_is_refused_by_input_and_index(
    image: object, path: str, form: Any, place: str
) -> None:
    value = form(image)
    assert limited(image_pixels=16).call(path, value)
    text = limited(image_pixels=15).refuse(path, value, 413)
    assert text == (
        f"input 'text'{place}: an image of more than 15 pixels, or too long a header"
    )


def test_tensors_that_are_too_large_are_refused_by_input() -> None:
    assert limited(tensor_size=32).call("/", COLUMNS)
    text = limited(tensor_size=31).refuse("/", COLUMNS, 413)
    assert text == "input 'weight': more than 31 bytes of tensors in one request"


@pytest.mark.parametrize("value", [COLUMNS, ROWS])
def test_a_request_has_so_many_rows_and_no_more(value: object) -> None:
    assert limited(request_rows=2).call("/", value)
    text = limited(request_rows=1).refuse("/", value, 413)
    assert text.endswith("more than 1 rows in one request")
