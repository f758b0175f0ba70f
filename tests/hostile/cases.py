"""What a stranger may send, by name: the bytes, and the status it must get."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator

from tests.hostile.calls import calls
from tests.hostile.uploads import uploads
from tests.hostile.wire import CLOSED, Case, case, chunked, head, post

# Limits of the server under attack: small, so that few bytes go past them.
LIMITS = {
    "uri_size": 1000,
    "header_size": 2000,
    "header_count": 20,
    "chunks": 100,
}
REQUEST_SIZE = 10_000


def request_lines() -> Iterator[Case]:
    """First lines that are none, or ask for what there is not."""
    for name, line, status in (
        ("no_version", "GET /", 505),
        ("no_target", "GET HTTP/1.1", 400),
        ("no_method", "/ HTTP/1.1", 400),
        ("space_in_target", "GET /a b HTTP/1.1", 400),
        ("tab_for_space", "GET\t/\tHTTP/1.1", 400),
        ("version_0_9", "GET / HTTP/0.9", 505),
        ("version_2_0", "GET / HTTP/2.0", 505),
        ("version_1_2", "GET / HTTP/1.2", 400),
        ("version_of_letters", "GET / HTTP/x.y", 400),
        ("version_too_long", "GET / HTTP/1.11", 400),
        ("version_in_lower_case", "GET / http/1.1", 400),
        ("method_in_lower_case", "get / HTTP/1.1", 400),
        ("method_unknown", "BREW / HTTP/1.1", 400),
        ("method_of_symbols", "G(T / HTTP/1.1", 400),
        ("method_very_long", "A" * 5000 + " / HTTP/1.1", 400),
        ("connect", "CONNECT localhost:80 HTTP/1.1", 400),
        ("connect_to_a_path", "CONNECT / HTTP/1.1", 405),
        ("trace", "TRACE / HTTP/1.1", 405),
        ("asterisk_with_get", "GET * HTTP/1.1", 400),
        ("fragment", "GET /#a HTTP/1.1", 400),
        ("other_scheme", "GET file:///etc/passwd HTTP/1.1", 400),
        ("relative_target", "GET a/b HTTP/1.1", 400),
        ("target_not_ascii", "GET /\xe9 HTTP/1.1", 400),
        ("target_with_nul", "GET /\x00 HTTP/1.1", 400),
        ("target_with_del", "GET /\x7f HTTP/1.1", 400),
        ("target_too_long", "GET /" + "a" * 1000 + " HTTP/1.1", 414),
        ("carriage_return_inside", "GET /\rX HTTP/1.1", 400),
    ):
        # Some of these are ordinary requests, answered on a kept connection.
        yield case(name, head(line), status, closes=status != 405)
    yield case("lf_only", b"GET / HTTP/1.1\nHost: a\n\n", 400)
    yield case("cr_only", b"GET / HTTP/1.1\rHost: a\r\r", 400)
    yield case("http_2_preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400)
    yield case("tls_hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9, 400)
    yield case("ssh_greeting", b"SSH-2.0-OpenSSH_9.2\r\n", 400)
    yield case("proxy_protocol", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 400)
    yield case("random_bytes", random.Random(1).randbytes(4000), 400)
    yield case("zeros", bytes(4000), 400)
    yield case("only_a_target_without_end", b"GET /" + b"a" * 100_000, 414)


def headers() -> Iterator[Case]:
    """Heads that are wrong or too much."""
    for name, lines, status in (
        ("no_colon", ["no colon"], 400),
        ("empty_name", [": x"], 400),
        ("space_before_colon", ["A : b"], 400),
        ("space_in_name", ["A b: c"], 400),
        ("name_not_ascii", ["\xe9: b"], 400),
        ("nul_in_name", ["A\x00: b"], 400),
        ("nul_in_value", ["A: \x00"], 400),
        ("bell_in_value", ["A: \x07"], 400),
        ("folded", ["A: b", " c"], 400),
        ("folded_with_tab", ["A: b", "\tc"], 400),
        ("carriage_return_in_value", ["A: b\rc"], 400),
        ("line_feed_in_value", ["A: b\nC: d"], 400),
        ("header_too_large", ["A: " + "a" * 2000], 431),
        ("name_too_large", ["A" * 2000 + ": a"], 431),
        ("headers_too_many", ["A: b"] * 20, 431),
        ("headers_of_many_names", [f"A{i}: b" for i in range(20)], 431),
        ("host_twice", ["Host: localhost"], 400),
        ("expectation_unknown", ["Expect: 200-ok"], 417),
    ):
        yield case(name, head("GET / HTTP/1.1", *lines), status)
    for name, value in (
        ("host_with_path", "a/b"),
        ("host_with_user", "a@b"),
        ("host_with_blank", "a b"),
        ("host_with_bad_port", "a:b"),
        ("host_with_two_ports", "a:1:2"),
        ("host_with_long_port", "a:123456"),
        ("host_with_bad_brackets", "[::1"),
        ("host_not_ascii", "\xe9"),
        ("host_with_quote", 'a"b'),
        ("host_with_tag", "<script>"),
    ):
        sent = head("GET / HTTP/1.1", f"Host: {value}", host=False)
        yield case(name, sent, 400)
    yield case("no_host", head("GET / HTTP/1.1", host=False), 400)
    yield case("header_without_end", head("GET / HTTP/1.1")[:-2] + b"A" * 100_000, 431)


def lengths() -> Iterator[Case]:
    """Bodies whose length is a matter of opinion, and what might follow them."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for name, lines in (
        ("length_twice", ["Content-Length: 2", "Content-Length: 3"]),
        ("length_twice_alike", ["Content-Length: 2", "Content-Length: 2"]),
        ("length_list", ["Content-Length: 2, 2"]),
        ("length_negative", ["Content-Length: -2"]),
        ("length_with_plus", ["Content-Length: +2"]),
        ("length_in_hex", ["Content-Length: 0x2"]),
        ("length_with_underscore", ["Content-Length: 1_0"]),
        ("length_with_point", ["Content-Length: 2.0"]),
        ("length_empty", ["Content-Length:"]),
        ("length_not_ascii", ["Content-Length: \xb2"]),
        ("length_overflows", ["Content-Length: 18446744073709551618"]),
        ("length_and_chunked", ["Content-Length: 2", "Transfer-Encoding: chunked"]),
        ("chunked_and_length", ["Transfer-Encoding: chunked", "Content-Length: 2"]),
        ("coding_space_colon", ["Transfer-Encoding : chunked", "Content-Length: 2"]),
        ("coding_twice", ["Transfer-Encoding: chunked"] * 2),
        ("coding_list", ["Transfer-Encoding: gzip, chunked"]),
        ("coding_chunked_first", ["Transfer-Encoding: chunked, gzip"]),
        ("coding_twice_in_one", ["Transfer-Encoding: chunked, chunked"]),
        ("coding_identity", ["Transfer-Encoding: identity"]),
        ("coding_gzip", ["Transfer-Encoding: gzip"]),
        ("coding_unknown", ["Transfer-Encoding: xchunked"]),
        ("coding_with_parameter", ["Transfer-Encoding: chunked;a=b"]),
        ("coding_quoted", ['Transfer-Encoding: "chunked"']),
        ("coding_vertical_tab", ["Transfer-Encoding:\x0bchunked"]),
        ("coding_empty", ["Transfer-Encoding:", "Content-Length: 2"]),
        ("coding_folded", ["Transfer-Encoding:", " chunked"]),
    ):
        yield case(name, head("POST / HTTP/1.1", *lines) + b"{}" + smuggled, 400)
    old = head("POST / HTTP/1.0", "Transfer-Encoding: chunked")
    yield case("chunked_in_http_1_0", old + b"0\r\n\r\n" + smuggled, 400)
    too_much = head("POST / HTTP/1.1", "Content-Length: 10001")
    yield case("length_too_large", too_much, 413)
    yield case("length_too_large_and_sent", too_much + bytes(10001), 413)
    huge = head("POST / HTTP/1.1", "Content-Length: 100000000000")
    yield case("length_of_100_gb", huge + bytes(100_000), 413)
    expecting = head(
        "POST / HTTP/1.1", "Content-Length: 100000000000", "Expect: 100-continue"
    )
    yield case("length_of_100_gb_expecting", expecting, 413)


def chunks() -> Iterator[Case]:
    """Chunked bodies that are none, or too much."""
    for name, sent in (
        ("chunk_size_of_letters", chunked(b"xyz\r\n")),
        ("chunk_size_negative", chunked(b"-1\r\nx\r\n")),
        ("chunk_size_with_plus", chunked(b"+1\r\nx\r\n")),
        ("chunk_size_with_prefix", chunked(b"0x1\r\nx\r\n")),
        ("chunk_size_with_blank", chunked(b"1 \r\nx\r\n")),
        ("chunk_size_blank_first", chunked(b" 1\r\nx\r\n")),
        ("chunk_size_empty", chunked(b"\r\nx\r\n")),
        ("chunk_size_overflows", chunked(b"1" + b"0" * 16 + b"\r\n")),
        ("chunk_longer_than_said", chunked(b"1\r\nxy\r\n")),
        ("chunk_without_end", chunked(b"1\r\nx1\r\ny\r\n")),
        ("chunks_with_lf_only", chunked(b"1\nx\n", end=b"0\n\n")),
        ("chunk_extension_with_lf", chunked(b"1;a\nx\r\n")),
        ("trailer_without_colon", chunked(end=b"0\r\nno colon\r\n\r\n")),
        ("chunks_too_many", chunked(*[b"1\r\n \r\n"] * 100)),
        ("chunks_of_framing", chunked(b"1;" + b"a" * 200_000)),
    ):
        yield case(name, sent, 400)
    yield case("chunk_too_large", chunked(b"ffffffff\r\n" + bytes(10_001)), 413)
    yield case("chunks_too_large", chunked(*[b"1000\r\n%4096d\r\n" % 1] * 3), 413)
    yield case("trailer_without_end", chunked(end=b"0\r\nA: " + b"a" * 200_000), 400)


def cut() -> Iterator[Case]:
    """Requests whose client leaves in the middle."""
    whole = post(b'{"x": [1.0]}')
    for name, count in (
        ("cut_in_the_method", 2),
        ("cut_in_the_head", 20),
        ("cut_before_the_body", whole.index(b"{")),
        ("cut_in_the_body", len(whole) - 1),
    ):
        yield Case(name, (whole[:count],), 400, half_close=True)
    yield Case("cut_in_a_chunk", (chunked(b"5\r\nab", end=b""),), 400, half_close=True)
    yield Case("cut_before_the_end", (chunked(end=b"0\r\n"),), 400, half_close=True)
    yield Case("nothing_at_all", (), CLOSED, half_close=True)


def bodies() -> Iterator[Case]:
    """Bodies that are no call."""
    for name, body in (
        ("json_none", b"null"),
        ("json_number", b"1"),
        ("json_string", b'"x"'),
        ("json_cut", b'{"x": [1'),
        ("json_trailing", b'{"x": [1]} x'),
        ("json_trailing_comma", b'{"x": [1,]}'),
        ("json_single_quotes", b"{'x': [1]}"),
        ("json_comment", b'{"x": [1] /* */}'),
        ("json_nan", b'{"x": [NaN]}'),
        ("json_infinity", b'{"x": [Infinity]}'),
        ("json_hex", b'{"x": [0x1]}'),
        ("json_leading_zero", b'{"x": [01]}'),
        ("json_plus", b'{"x": [+1]}'),
        ("json_bare_point", b'{"x": [.5]}'),
        ("json_bom", b'\xef\xbb\xbf{"x": [1]}'),
        ("json_utf_16", '{"x": [1]}'.encode("utf-16")),
        ("json_utf_32", '{"x": [1]}'.encode("utf-32")),
        ("json_not_utf_8", b'{"x\xff": [1]}'),
        ("json_overlong", b'{"\xc0\xaf": [1]}'),
        ("json_lone_surrogate", b'{"\\ud800": [1]}'),
        ("json_nul", b'{"x\x00": [1]}'),
        ("json_deep_lists", b"[" * 5000),
        ("json_deep_lists_closed", b"[" * 2500 + b"]" * 2500),
        ("json_deep_objects", b'{"x":' * 1500),
        ("json_deep_value", b'{"x": ' + b"[" * 1000 + b"]" * 1000 + b"}"),
        ("json_binary", random.Random(2).randbytes(3000)),
        ("not_json_but_gzip", zlib.compress(b'{"x": [1]}')),
        ("name_missing", b"{}"),
        ("name_unknown", b'{"x": [1], "y": [2]}'),
        ("name_of_a_dunder", b'{"__class__": [1]}'),
        ("name_very_long", json.dumps({"x" * 9000: 1}).encode()),
        ("name_with_newlines", b'{"x\\r\\nSet-Cookie: a=b": [1]}'),
        ("value_null", b'{"x": [null]}'),
        ("value_true", b'{"x": [true]}'),
        ("value_string", b'{"x": ["1"]}'),
        ("value_object", b'{"x": [{}]}'),
        ("value_url", b'{"x": [{"url": "http://localhost/"}]}'),
        ("value_ragged", b'{"x": [[1], [1, 2]]}'),
        ("value_too_deep", b'{"x": [[1]]}'),
        ("value_of_no_rows", b'{"x": []}'),
        ("value_too_large_for_float", b'{"x": [1e39]}'),
        ("value_too_large_for_double", b'{"x": [1e400]}'),
        ("value_of_many_digits", b'{"x": [' + b"9" * 5000 + b"]}"),
        ("rows_of_numbers", b"[1, 2]"),
        ("rows_mixed", b'[{"x": 1}, 2]'),
        ("rows_without_names", b"[{}]"),
    ):
        yield case(f"body_{name}", post(body), 400, closes=False)


def paths() -> Iterator[Case]:
    """Paths that lead nowhere."""
    for name, path, status in (
        ("path_unknown", "/nope", 404),
        ("path_traversal", "/../../etc/passwd", 404),
        ("path_traversal_encoded", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("path_traversal_twice_encoded", "/%252e%252e/etc/passwd", 404),
        ("path_backslashes", "/..%5c..%5cetc", 404),
        ("path_nul", "/%00", 404),
        ("path_newline", "/%0d%0aSet-Cookie:%20a=b", 404),
        ("path_not_utf_8", "/%ff", 400),
        ("path_cut_escape", "/%f", 404),
        ("path_no_escape", "/%zz", 404),
        ("path_private", "/__saved_model_init_op", 404),
        ("path_dunder", "/__class__", 404),
        ("path_of_slashes_and_a_name", "/" * 900 + "a", 404),
        ("path_of_dots", "/" + "../" * 300, 404),
        ("path_with_semicolons", "/;;;", 404),
        ("path_with_tags", "/%3Cscript%3E", 404),
        ("static_traversal", "/web/../cases.py", 404),
        ("static_traversal_encoded", "/web/%2e%2e/cases.py", 404),
        ("static_traversal_slash", "/web/..%2fcases.py", 404),
        ("static_absolute", "/web//etc/passwd", 404),
        ("static_dot_file", "/web/.secret", 404),
        ("static_nul", "/web/index.html%00.png", 404),
        ("static_not_utf_8", "/web/%ff", 404),
    ):
        yield case(name, head(f"GET {path} HTTP/1.1"), status, closes=False)
    for name, method, path in (
        ("delete_a_method", "DELETE", "/serving_default"),
        ("put_a_file", "PUT", "/web/index.html"),
        ("patch_the_root", "PATCH", "/"),
        ("propfind_the_root", "PROPFIND", "/"),
    ):
        yield case(name, head(f"{method} {path} HTTP/1.1"), 405, closes=False)


def floods() -> Iterator[Case]:
    """Many requests at once on one connection; each is answered in its turn."""
    whole = post(b'{"x": [1.0]}')
    yield Case("pipelined", (whole * 200,), 200, closes=False)
    yield Case("pipelined_byte_by_byte", tuple(bytes([b]) for b in whole), 200, False)
    bad = whole * 3 + b"nonsense\r\n\r\n"
    yield Case("nonsense_after_good", (bad,), 200)
    yield Case("blank_lines", (b"\r\n" * 500 + whole,), 200, closes=False)
    upgrade = head("GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket")
    yield case("upgrade", upgrade, 200, closes=False)
    body = post(b'{"x": [1.0]}', "Connection: Upgrade", "Upgrade: h2c")
    yield case("upgrade_with_a_body", body, 200, closes=False)
    absolute = head("GET http://elsewhere.example/ HTTP/1.1")
    yield case("absolute_form", absolute, 200, closes=False)
    yield case("http_1_0", head("GET / HTTP/1.0"), 200)
    yield case(
        "range_of_a_call", head("GET / HTTP/1.1", "Range: bytes=0-0"), 200, False
    )
    cookies = head("GET / HTTP/1.1", "Cookie: " + "a=b; " * 300)
    yield case("cookies", cookies, 200, closes=False)
    options = head("OPTIONS * HTTP/1.1")
    yield case("options_of_the_server", options, 204, closes=False)


CASES = [
    *request_lines(),
    *headers(),
    *lengths(),
    *chunks(),
    *cut(),
    *bodies(),
    *paths(),
    *floods(),
    *uploads(),
    *calls(),
]
