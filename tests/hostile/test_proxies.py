"""Behind a reverse proxy, both count the same requests, whatever is sent.

If the server saw one more than the proxy passed on, a stranger could hide a
request in the body of another and have it answered to somebody else.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs
import pytest

from tests.hostile.cases import CASES
from tests.hostile.conftest import PATIENCE, Target
from tests.hostile.wire import Case, post
from tests.processes import needed

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
  log_format counted '$upstream_addr';
  access_log {folder}/passed.log counted;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s;
  client_max_body_size 0; underscores_in_headers on; ignore_invalid_headers off;
  upstream server {{ server 127.0.0.1:{port}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{front};
    location / {{
      proxy_pass http://server; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_next_upstream off;
      proxy_request_buffering off;
    }}
  }}
}}
"""

HAPROXY = """
global
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "passed %s"
  timeout connect 1s
  timeout client 1s
  timeout server 5s
  timeout http-request 1s
  timeout http-keep-alive 1s
  retries 0
  http-reuse always
frontend front
  bind 127.0.0.1:{front}
  default_backend back
backend back
  server server 127.0.0.1:{port}
"""


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port: int = it.getsockname()[1]
    return port


@attrs.define(eq=False)
class Proxy:
    """A proxy in front of the target, which logs a line for each request."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def passed(self) -> int:
        """How many requests it has passed on so far."""
        lines = self.log.read_text().splitlines()
        return sum("-" not in line and "<NOSRV>" not in line for line in lines)

    def seen(self) -> int:
        """How many requests it has logged so far."""
        return len(self.log.read_text().splitlines())


@pytest.fixture(params=["nginx", "haproxy"])
def proxy(
    request: pytest.FixtureRequest, target: Target, tmp_path: Path
) -> Iterator[Proxy]:
    program = needed(request.param, request.param)
    front = free_port()
    text = {"nginx": NGINX, "haproxy": HAPROXY}[request.param]
    config = tmp_path / "proxy.conf"
    config.write_text(text.format(folder=tmp_path, port=target.port, front=front))
    option = {"nginx": "-c", "haproxy": "-f"}[request.param]
    log = tmp_path / "passed.log"
    log.touch()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [program, option, str(config)],
            stdout=output,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
    yield Proxy(process, front, log)
    process.terminate()
    process.wait(PATIENCE)


def connect(proxy: Proxy) -> socket.socket:
    """A connection, once it listens."""
    for _ in range(10_000):
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)
        assert proxy.process.poll() is None, "the proxy did not start"
    raise AssertionError("the proxy does not listen")


def deliver(proxy: Proxy, sent: bytes) -> None:
    """Send it and a last request, and wait until the proxy has closed."""
    last = post(b'{"x": [3.0]}', "Connection: close")
    with connect(proxy) as wire, suppress(BrokenPipeError, ConnectionResetError):
        wire.sendall(sent + last)
        while wire.recv(65536):
            pass


def sendable(case: Case) -> bool:
    # What waits for the proxy's own timeouts tells nothing of the server.
    return bool(case.sent) and not case.half_close


def test_no_request_is_counted_otherwise(target: Target, proxy: Proxy) -> None:
    deliver(proxy, b"")
    while not proxy.passed():
        assert proxy.process.poll() is None
    before = target.gauges("/requests")["requests"] - proxy.passed()
    wrong = {}
    for case in filter(sendable, CASES):
        deliver(proxy, b"".join(case.sent))
        for _ in range(200):
            more = target.gauges("/requests")["requests"] - proxy.passed() - before
            if not more:
                break
        if more:
            wrong[case.name] = more
            before += more
    assert proxy.seen() > 100
    assert not wrong
