"""Real servers: both commands, a model of TensorFlow, curl, signals, a daemon.

What holds when a server is told to stop (SIGTERM):

- it accepts no more connections; one that is still in the kernel's queue, and
  was not accepted, is reset;
- each request that is sent on an accepted connection until ``DRAIN_GRACE``
  seconds later gets its whole answer, and the last one on each connection says
  that it is closed;
- after that an idle connection is closed without a word, so a request sent at
  that very moment may find nobody, as on any kept-alive connection (RFC 9112,
  section 9.3.1).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.processes import (
    PATIENCE,
    TWISTD,
    TXINFER,
    ServerProcess,
    call,
    ended,
    eventually,
    is_running,
)
from txinfer import __version__
from txinfer.site import DRAIN_GRACE

# What TensorFlow says on its own, or Python when something was forgotten.
CHATTER = re.compile("cudart|WARNING|oneDNN|cpu_feature|Traceback|Unhandled", re.I)

# A line of Twisted's log, and what is said in it.
LINE = re.compile(r"^\d{4}-\d\d-\d\dT\S+ \[[^]]+\] (.*)$", re.M)

# What befalls a connection that nobody accepted any more. When an accepted one
# is closed without an answer, that is ``RemoteDisconnected``.
NOT_ACCEPTED = (ConnectionRefusedError, ConnectionResetError, BrokenPipeError)

# Has curl say nothing but the answer and its status.
TELL = """curl() { command curl -sS --max-time 60 -w '\\n%{http_code}' "$@"; }; """

AWKWARD = """it's a "name" & é"""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with one version of a model whose methods differ in all that is told.

    The keys of a signature are free text in TensorFlow 1.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    folder = tmp_path_factory.mktemp("the models") / "zoo"
    writer = v1.saved_model.builder.SavedModelBuilder(str(folder / "7"))

    def build(dtype: str, shape: list[Any], run: Callable[[Any], Any]) -> Any:
        x = v1.placeholder(dtype, shape)
        name = AWKWARD if run is affine else "x"
        make = v1.saved_model.signature_def_utils.predict_signature_def
        return make({name: x}, {"y": run(x)})

    def affine(x: Any) -> Any:
        return 2 * x + 1

    def turn(x: Any) -> Any:
        """Keep the processor busy, for milliseconds, and give 2x + 1."""
        steps = tf.while_loop(
            lambda i, _: i < 300,
            lambda i, square: (i + 1, tf.tanh(square @ square)),
            (tf.constant(0), tf.ones([128, 128])),
        )[1]
        return 2 * x + tf.reduce_max(steps)

    def decode(x: Any) -> Any:
        def one(file: Any) -> Any:
            return tf.shape(tf.io.decode_image(file, channels=3))[0]

        return tf.map_fn(one, x, fn_output_signature=tf.int32)

    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {
            "serving_default": build("float32", [None], lambda x: 2 * x + 1),
            AWKWARD: build("float32", [None], affine),
            "slow": build("float32", [None], turn),
            "pixels": build("int32", [None, 28, 28], lambda x: x[:, 0, 0]),
            "scalar": build("bool", [], lambda x: ~x),
            "centred": build("float32", [None], lambda x: x - tf.reduce_mean(x)),
            "heights": build("string", [None], decode),
        }
        writer.add_meta_graph_and_variables(session, ["serve"], signatures)
    writer.save()
    return str(folder)


@pytest.fixture
def broken(saved_model: Callable[[str], str], tmp_path: Path) -> str:
    """A SavedModel with an op that no TensorFlow has."""
    path = tmp_path / "broken"
    shutil.copytree(saved_model("affine"), path)
    graph = path / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"ReadVariableOp", b"ReedVariableOp"))
    return str(path)


@pytest.fixture
def taken() -> Iterator[str]:
    """The number of a port that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


def said(log: str) -> list[str]:
    """The texts of a log, all of whose lines must be whole."""
    lines = log.splitlines()
    texts = [match[1] for match in map(LINE.match, lines) if match]
    assert len(texts) == len(lines), log
    assert not CHATTER.search(log), log
    return texts


def curl_lines(log: str) -> list[str]:
    """The commands that a person would copy from a log."""
    return [text.strip() for text in said(log) if re.match(r"  .*\bcurl ", text)]


def run_line(line: str) -> Any:
    """Run a command as a person would; the JSON that it gives, with status 200."""
    done = subprocess.run(
        ["sh", "-c", TELL + line], capture_output=True, text=True, timeout=PATIENCE
    )
    body, _, status = done.stdout.rpartition("\n")
    assert (done.returncode, done.stderr, status) == (0, "", "200"), (line, done)
    return json.loads(body)


# One server in the foreground


@pytest.fixture(scope="module")
def server(zoo: str) -> Iterator[ServerProcess]:
    """``txinfer serve``, ready."""
    started = ServerProcess("--model", zoo)
    try:
        started.wait_for("slow -d .*\n")
        yield started
    finally:
        started.close()


def test_the_log_tells_what_a_person_needs(server: ServerProcess, zoo: str) -> None:
    texts = said(server.log)
    url = server.ready() + "/"
    assert any(re.fullmatch(rf"Loading {zoo}/7 \.\.\. \d+ s", text) for text in texts)
    assert f"Serving {zoo} at {url}" in texts
    told = "\n".join(texts)
    assert (
        "serving_default: x float32 [-1] -> y float32 [-1]\n"
        "  batched, up to 128 rows a run\n"
        f"  curl {url} -d '{{\"x\":[0]}}'\n"
    ) in told
    assert "scalar: x bool [] -> y bool []\n  one call a run: " in told
    assert re.search(
        r"\ncentred: x float32 \[-1\] -> y float32 \[-1\]\n  one call a run: .+\n", told
    )


def test_each_curl_line_works_as_printed(server: ServerProcess) -> None:
    lines = curl_lines(server.log)
    assert len(lines) == 7
    answers = [run_line(line) for line in lines]
    assert {"y": [1]} in answers
    assert {"y": True} in answers
    assert any(line.startswith("python3 -c ") for line in lines)


def test_64_clients_get_64_right_answers(server: ServerProcess) -> None:
    url = server.ready()
    together = threading.Barrier(64)

    def ask(n: int) -> tuple[int, Any]:
        together.wait(PATIENCE)
        return call(f"{url}/slow", {"x": [n, -n]})

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(ask, range(64)))
    assert answers == [(200, {"y": [2 * n + 1, -2 * n + 1]}) for n in range(64)]


# The end of it


@attrs.define(eq=False)
class Load:
    """Clients that keep asking, and what became of their requests.

    A client keeps its connection until the server says that it closes it, then
    it is done; or it takes a new one for each request, until none is accepted.
    """

    port: int
    told: float | None = None
    answered: list[float] = attrs.field(factory=list, init=False)
    last: list[bool] = attrs.field(factory=list, init=False)
    lost: list[str] = attrs.field(factory=list, init=False)

    def ask(self, connection: HTTPConnection, n: int) -> bool:
        """One request; whether the connection can be used again."""
        connection.request("POST", "/slow", json.dumps({"x": n}))
        answer = connection.getresponse()
        status, value = answer.status, json.loads(answer.read())
        if (status, value) != (200, {"y": 2 * n + 1}):
            self.lost.append(f"{n}: {status} {value}")
        self.answered.append(time.monotonic())
        return not answer.will_close

    def keep_asking(self, seed: int) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.connect()
        for n in range(seed, 1 << 20, 100):
            began = time.monotonic()
            try:
                if not self.ask(connection, n):
                    self.last.append(True)
                    break
            except Exception as error:
                in_time = self.told is None or began < self.told + DRAIN_GRACE
                if in_time or not isinstance(error, ConnectionError):
                    self.lost.append(f"{n}: {error!r}")
                break
        connection.close()

    def ask_anew(self, seed: int) -> None:
        for n in range(seed, 1 << 20, 100):
            connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                self.ask(connection, n)
            except Exception as error:
                if self.told is None or type(error) not in NOT_ACCEPTED:
                    self.lost.append(f"{n}: {error!r}")
                return
            finally:
                connection.close()


def test_sigterm_under_load_loses_no_accepted_request(zoo: str, tmp_path: Path) -> None:
    path = tmp_path / "a socket"
    server = ServerProcess(
        *("--model", zoo, "--batch-transpose", "--port", f"unix:{path}"),
        command=(*TWISTD, "-n", f"--pidfile={tmp_path}/pid", "tfinfer"),
    )
    try:
        server.wait_for("slow -d .*\n")
        lines = curl_lines(server.log)
        assert len(lines) == 7
        assert all(f" --unix-socket '{path}' " in line for line in lines)
        answers = [run_line(line) for line in lines]
        assert {"y": 1} in answers

        load = Load(int(server.ready().rpartition(":")[2]))
        clients = [
            threading.Thread(target=ask, args=(n,), daemon=True)
            for n, ask in enumerate([load.keep_asking] * 12 + [load.ask_anew] * 4)
        ]
        for client in clients:
            client.start()
        eventually(lambda: len(load.answered) > 100 or load.lost)
        load.told = time.monotonic()
        assert server.terminate() == -signal.SIGTERM
        for client in clients:
            client.join(PATIENCE)
            assert not client.is_alive()
        assert load.lost == []
        assert len(load.last) > 0
        assert max(load.answered) > load.told
        texts = said(re.sub(r'.* "POST /.*\n', "", server.log))
        assert texts[-1] == "Server Shut Down."
        assert not (tmp_path / "pid").exists()
    finally:
        server.close()


# A daemon


@attrs.define(eq=False)
class Daemon:
    """``twistd tfinfer`` with its files in a folder of its own."""

    folder: Path

    def start(self, *options: str) -> subprocess.CompletedProcess[str]:
        files = (f"--pidfile={self.folder}/pid", f"--logfile={self.folder}/log")
        return ended((*TWISTD, *files, "tfinfer", *options))

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    @property
    def pid(self) -> int | None:
        path = self.folder / "pid"
        return int(path.read_text() or 0) if path.exists() else None

    def close(self) -> None:
        if self.pid and is_running(self.pid):
            os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Not started yet; ended in any case."""
    it = Daemon(tmp_path)
    yield it
    it.close()


def test_a_daemon_serves_logs_and_ends(daemon: Daemon, zoo: str) -> None:
    done = daemon.start("--model", zoo, "--port", "0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = daemon.pid
    assert pid is not None
    found = eventually(lambda: re.findall(r"Serving .* at (http://\S+)/", daemon.log))
    assert call(found[0], {"x": [3]}) == (200, {"y": [7.0]})
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_running(pid))
    assert daemon.pid is None
    assert said(re.sub(r'.* "POST /.*\n', "", daemon.log))[-1] == "Server Shut Down."


def test_a_daemon_whose_model_does_not_load_ends(daemon: Daemon, broken: str) -> None:
    done = daemon.start("--model", broken, "--port", "0")
    assert done.returncode == 0, "this is only found out by TensorFlow"
    pid = daemon.pid
    assert pid is not None
    eventually(lambda: not is_running(pid))
    assert daemon.pid is None
    assert sum(broken in text and "ReedVariableOp" in text for text in said(daemon.log))


def test_a_daemon_with_a_bad_option_is_none(daemon: Daemon) -> None:
    done = daemon.start("--model", f"{daemon.folder}/none")
    assert (done.returncode, done.stdout) == (1, "")
    why = f"txinfer: --model {daemon.folder}/none: there is no such folder\n"
    assert done.stderr == why
    assert os.listdir(daemon.folder) == []


def test_a_daemon_whose_port_is_taken_ends(
    daemon: Daemon, zoo: str, taken: str
) -> None:
    done = daemon.start("--model", zoo, "--port", taken)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"--port tcp:{taken}:" in done.stderr
    assert "log file for more" in done.stderr
    eventually(lambda: "Address already in use" in daemon.log)
    assert daemon.pid is None
    assert "Loading" not in daemon.log


# In the foreground, to no good end


def test_a_model_that_does_not_load_ends_the_process(
    saved_model: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "cut short"
    shutil.copytree(saved_model("affine"), path)
    os.truncate(path / "variables" / "variables.index", 100)
    done = ended((*TXINFER, "serve", "--model", str(path), "--port", "0"))
    assert (done.returncode, done.stderr) == (1, "")
    (why,) = [text for text in said(done.stdout) if "DataLossError" in text]
    assert why.startswith(f"{path}: ")


def test_a_port_that_is_taken_ends_the_process(zoo: str, taken: str) -> None:
    done = ended((*TXINFER, "serve", "--model", zoo, "--port", taken))
    assert done.returncode == 1
    assert done.stderr == ""
    (why,) = [text for text in said(done.stdout) if "--port" in text]
    assert why.startswith(f"txinfer: --port tcp:{taken}:interface=127.0.0.1: ")
    assert "Address already in use" in why


def test_commands_that_serve_nothing() -> None:
    done = ended((*TXINFER, "--version"))
    assert (done.returncode, done.stdout) == (0, f"txinfer {__version__}\n")
    done = ended((*TXINFER, "sevre"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("\ntxinfer: unknown command 'sevre'\n")
