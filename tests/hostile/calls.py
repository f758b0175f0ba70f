"""Calls that are nearly right: JSON at its limits, addresses of models, headers."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.wire import Case, case, head, post

# What one call may hold: little, so that few bytes are too much.
CALLS = {
    "multipart_parts": 100,
    "json_depth": 20,
    "json_elements": 5500,
    "request_rows": 400,
}

GOOD = b'{"x": [1.0]}'


def calls() -> Iterator[Case]:
    """All of them; the method takes one input ``x``, float32 [-1]."""
    for name, body, status in (*numbers(), *texts(), *names()):
        yield case(f"json_{name}", post(body), status, closes=False)
    for name, path, status in addresses():
        yield case(f"address_{name}", head(f"GET {path} HTTP/1.1"), status, False)
        if status == 404 and len(path) < 900:
            yield case(f"call_of_{name}", post(GOOD, path=path), status, False)
    for name, method, path, status in verbs():
        sent = (
            post(GOOD, path=path)
            if method == "POST"
            else head(f"{method} {path} HTTP/1.1")
        )
        yield case(f"verb_{name}", sent, status, closes=False)
    for name, line, status in wishes():
        yield case(f"header_{name}", post(GOOD, line), status, closes=False)
    for name, lines, status in files():
        sent = head("GET /web/index.html HTTP/1.1", *lines)
        yield case(f"file_{name}", sent, status, closes=False)


def listed(*values: bytes) -> bytes:
    return b'{"x": [%s]}' % b",".join(values)


Body = tuple[str, bytes, int]


def numbers() -> Iterator[Body]:
    """Numbers, as many and as long as may be, and more."""
    yield "rows_at_the_limit", listed(*[b"1"] * 400), 200
    yield "rows_past_the_limit", listed(*[b"1"] * 401), 413
    yield "examples_at_the_limit", b"[%s]" % b",".join([b'{"x":1}'] * 400), 200
    yield "examples_past_the_limit", b"[%s]" % b",".join([b'{"x":1}'] * 401), 413
    yield "of_many_places", listed(b"0." + b"1" * 9000), 200
    yield "of_many_zeros", listed(b"1." + b"0" * 9000), 200
    yield "of_a_long_exponent", listed(b"1e-" + b"9" * 900), 200
    yield "of_a_long_positive_exponent", listed(b"1e" + b"9" * 900), 400
    yield "of_zeros_in_an_exponent", listed(b"1e" + b"0" * 900), 200
    yield "minus_zero", listed(b"-0"), 200
    yield "minus_only", listed(b"-"), 400
    yield "exponent_only", listed(b"e5"), 400
    yield "of_19_digits", listed(*[b"1" * 19] * 300), 200
    yield "of_other_digits", '{"x": [١]}'.encode(), 400


def texts() -> Iterator[Body]:
    """What is no number, and what only looks like more than it is."""
    yield "elements_at_the_limit", listed(*[b"[]"] * 2748), 400
    yield "elements_past_the_limit", listed(*[b"[]"] * 2751), 413
    yield "objects_past_the_limit", listed(*[b"{}"] * 3000), 413
    yield "commas_in_a_string", listed(b'"%s"' % (b"," * 6000)), 413
    yield "brackets_in_a_string", listed(b'"%s"' % (b"[" * 5000)), 400
    yield "depth_at_the_limit", b'{"x":' + b"[" * 19 + b"]" * 19 + b"}", 400
    yield "depth_past_the_limit", b'{"x":' + b"[" * 20 + b"]" * 20 + b"}", 400
    yield "closing_only", b"]" * 9000, 400
    yield "quotes_only", b'"' * 9000, 400
    yield "backslashes", b'{"x": "' + b"\\" * 9000 + b'"}', 400
    yield "escapes", b'{"x": ["%s"]}' % (b"\\u0041" * 1000), 400
    yield "blanks", b" " * 9000 + GOOD + b" " * 900, 200
    yield "blanks_of_all_kinds", b"\t\r\n " * 2000 + GOOD, 200
    yield "blanks_of_another_kind", "\u00a0".encode() + GOOD, 400
    yield "nothing", b"", 400
    yield "only_blanks", b" " * 100, 400
    yield "zeros", bytes(9000), 400
    yield "two_documents", GOOD + GOOD, 400
    yield "lines_of_documents", GOOD + b"\n" + GOOD, 400


def names() -> Iterator[Body]:
    """Names of inputs that are nearly known."""
    yield "name_escaped", b'{"\\u0078": [1]}', 200
    yield "name_twice", b'{"x": [1], "x": [2]}', 200
    yield "name_of_another_case", b'{"X": [1]}', 400
    yield "name_with_a_blank", b'{"x ": [1]}', 400
    yield "name_full_width", '{"ｘ": [1]}'.encode(), 400
    yield "name_empty", b'{"": [1]}', 400
    yield "name_of_a_terminal", b'{"\\u001b[2J": [1]}', 400
    yield "name_right_to_left", b'{"\\u202ex": [1]}', 400
    many = b",".join(b'"%d": 1' % number for number in range(200))
    yield "names_of_many", b"{%s}" % many, 400


def addresses() -> Iterator[tuple[str, str, int]]:
    """Models and versions that there are not."""
    yield "models", "/models", 200
    yield "of_the_model", "/models/memory", 200
    yield "of_its_method", "/models/memory/serving_default", 200
    yield "of_a_version", "/models/memory/versions/1/serving_default", 200
    yield "unknown_model", "/models/nope/serving_default", 404
    yield "model_of_dots", "/models/../memory/x", 404
    yield "model_of_a_path", "/models/%2e%2e%2fetc%2fpasswd/x", 404
    yield "model_of_a_terminal", "/models/%1b%5b2J/x", 404
    yield "model_very_long", "/models/" + "m" * 900, 404
    yield "unknown_method", "/models/memory/nope", 404
    yield "unknown_version", "/models/memory/versions/2/serving_default", 404
    yield "version_negative", "/models/memory/versions/-1/serving_default", 404
    yield "version_huge", f"/models/memory/versions/{'9' * 800}/x", 404
    yield "version_of_letters", "/models/memory/versions/one/x", 404
    yield "version_of_other_digits", "/models/memory/versions/%D9%A1/x", 404
    yield "unknown_label", "/models/memory/labels/stable/serving_default", 404
    yield "label_of_a_path", "/models/memory/labels/..%2f..%2fx/serving_default", 404
    yield "slash_at_the_end", "/serving_default/", 404
    yield "health", "/healthz", 200
    yield "readiness", "/readyz", 200
    yield "below_health", "/healthz/..%2f..%2fetc", 404
    yield "metrics", "/metrics", 200
    yield "metrics_with_a_query", "/metrics?name[]=" + "a" * 900, 200
    yield "stats", "/stats", 200
    yield "below_stats", "/stats/%00", 404
    yield "query_of_many", "/?" + "a=b&" * 240, 200
    yield "query_of_percents", "/?" + "%" * 900, 200


def verbs() -> Iterator[tuple[str, str, str, int]]:
    """What is not done to a thing."""
    yield "post_to_health", "POST", "/healthz", 405
    yield "post_to_metrics", "POST", "/metrics", 405
    yield "post_to_models", "POST", "/models", 404
    yield "post_to_a_file", "POST", "/web/index.html", 405


def wishes() -> Iterator[tuple[str, str, int]]:
    """Headers that a call may have."""
    timeout = "X-Request-Timeout-Ms: "
    yield "timeout_of_a_minute", timeout + "60000", 200
    yield "timeout_zero", timeout + "0", 400
    yield "timeout_negative", timeout + "-1", 400
    yield "timeout_of_a_fraction", timeout + "0.5", 400
    yield "timeout_with_a_unit", timeout + "5s", 400
    yield "timeout_of_many_digits", timeout + "9" * 900, 400
    yield "timeout_infinite", timeout + "inf", 400
    yield "timeout_of_other_digits", timeout + "\xb2", 400
    yield "timeout_empty", timeout, 400
    yield "request_id_very_long", "X-Request-Id: " + "a" * 1500, 200
    yield "request_id_of_tags", "X-Request-Id: <script>", 200
    yield "request_id_not_ascii", "X-Request-Id: \xff\xfe", 200
    yield "forwarded_for_nonsense", "X-Forwarded-For: " + "a, " * 500, 200
    yield "forwarded_for_many", "X-Forwarded-For: " + "1.2.3.4, " * 190, 200
    yield "key_of_nobody", "Authorization: Bearer " + "k" * 1500, 200
    yield "key_not_ascii", "X-API-Key: \xff", 200
    yield "origin_null", "Origin: null", 200
    yield "connection_of_many", "Connection: " + "a, " * 500, 200
    yield "te_of_many", "TE: " + "trailers, " * 150, 200


def files() -> Iterator[tuple[str, list[str], int]]:
    """Ranges and conditions; the file has five bytes."""
    yield "range", ["Range: bytes=1-2"], 206
    yield "range_past_the_end", ["Range: bytes=5-"], 416
    yield "range_of_many_digits", ["Range: bytes=" + "9" * 900 + "-"], 200
    yield "range_backwards", ["Range: bytes=3-1"], 200
    yield "ranges_of_many", ["Range: bytes=" + ",".join(["0-"] * 400)], 200
    yield "range_of_nothing", ["Range: bytes=-0"], 416
    yield "range_of_rows", ["Range: rows=0-1"], 200
    yield "tags_of_many", ["If-None-Match: " + '"a",' * 400], 200
    yield "tags_of_all", ["If-None-Match: *"], 304
    yield "since_never", ["If-Modified-Since: Mon, 99 Foo 99999 99:99:99 GMT"], 200
    yield "since_nonsense", ["If-Modified-Since: " + "9" * 900], 200
    yield "since_tomorrow", ["If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT"], 304
