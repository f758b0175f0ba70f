"""A real server whose models get new versions while it is called."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.processes import PATIENCE, ServerProcess, call, eventually
from tests.test_twistd import CHATTER, curl_lines, run_line


def constant(path: Path, value: float) -> Path:
    """A SavedModel of which every answer is one number, kept in a variable."""
    import tensorflow as tf

    from tests.saved_models import one, spec

    module = tf.Module()
    module.value = tf.Variable(float(value))
    one(
        str(path),
        lambda x: {"y": x * 0 + module.value},
        spec([None]),
        module=module,
    )
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1, 2 and 3 of a model; each answers with its own number."""
    folder = tmp_path_factory.mktemp("made")
    for number in (1, 2, 3):
        constant(folder / str(number), number)
    return folder


@attrs.define(eq=False)
class Clients:
    """Threads that call without pause, each on a connection that is kept."""

    port: int
    statuses: set[int] = attrs.field(factory=set)
    values: list[list[float]] = attrs.field(factory=list)
    errors: list[str] = attrs.field(factory=list)
    over: threading.Event = attrs.field(factory=threading.Event)
    threads: list[threading.Thread] = attrs.field(factory=list)

    def start(self, *paths: str) -> None:
        for path in paths:
            thread = threading.Thread(target=self.ask, args=(path,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def ask(self, path: str) -> None:
        values: list[float] = []
        self.values.append(values)
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            while not self.over.is_set():
                connection.request("POST", path, b'{"x": [0]}')
                answer = connection.getresponse()
                body: Any = json.loads(answer.read())
                self.statuses.add(answer.status)
                if not values or values[-1] != body["y"][0]:
                    values.append(body["y"][0])
        except Exception as error:
            self.errors.append(repr(error))

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def server(
    tmp_path: Path, made: Path, saved_model: Callable[[str], str]
) -> Iterator[ServerProcess]:
    """Two models from a file; ``digits`` has version 1 and looks for others."""
    shutil.copytree(made / "1", tmp_path / "digits" / "1")
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        poll_seconds = 0.1
        admin_port = "0"
        [models.digits]
        path = "{tmp_path}/digits"
        [models.other]
        path = "{saved_model("affine")}"
        """
    )
    started = ServerProcess("--config", str(config))
    try:
        started.ready()
        yield started
    finally:
        started.close()


def test_versions_come_under_load_and_no_call_is_lost(
    server: ServerProcess, made: Path, tmp_path: Path
) -> None:
    url = server.ready()
    digits = tmp_path / "digits"

    def rows() -> dict[int, Any]:
        status, models = call(f"{url}/models")
        assert status == 200
        return {row["version"]: row for row in models[0]["versions"]}

    clients = Clients(int(url.rpartition(":")[2]))
    clients.start("/", "/models/digits", "/models/digits/serving_default", "/")
    # Version 2 comes in pieces, the smallest file first.
    (digits / "2").mkdir()
    shutil.copy(made / "2" / "saved_model.pb", digits / "2")
    shutil.copytree(made / "2" / "variables", tmp_path / "variables")
    data = next((tmp_path / "variables").glob("variables.data*"))
    (digits / "2" / "variables").mkdir()
    shutil.copy(tmp_path / "variables" / "variables.index", digits / "2" / "variables")
    eventually(lambda: "data are missing" in rows().get(2, {}).get("waiting", ""))
    shutil.copy(data, digits / "2" / "variables")
    eventually(lambda: rows().keys() == {2} and all(v[-1] == 2 for v in clients.values))
    # Version 3 is whole, but no good.
    shutil.copytree(made / "3", tmp_path / "3")
    graph = tmp_path / "3" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"ReadVariableOp", b"ReadVariableOq"))
    (tmp_path / "3").rename(digits / "3")
    eventually(lambda: rows().get(3, {}).get("error"))
    assert rows()[2]["state"] == "AVAILABLE"
    assert call(f"{url}/models/digits/versions/2", {"x": [0]}) == (200, {"y": [2]})
    assert call(f"{url}/models/digits/versions/3", {"x": [0]})[0] == 503
    clients.stop()
    assert clients.errors == []
    assert clients.statuses == {200}
    assert clients.values == [[1, 2]] * 4
    assert "digits: version 2 is available" in server.log
    assert "digits: version 1 has ended" in server.log
    assert str(digits / "3") in server.log


def test_models_are_managed_while_others_are_served(
    server: ServerProcess, made: Path
) -> None:
    url = server.ready()
    admin = server.wait_for(r"Models are managed at (http://\S+)/")[1]
    assert call(f"{url}/models/more", {"x": [0]})[0] == 404
    status, more = call(f"{admin}/models/more", {"path": str(made), "versions": "2,3"})
    assert (status, [row["version"] for row in more["versions"]]) == (200, [3, 2])
    assert call(f"{url}/models/more", {"x": [0]}) == (200, {"y": [3]})
    assert call(f"{url}/models/more/versions/2", {"x": [0]}) == (200, {"y": [2]})
    status, told = call(f"{admin}/models/none", {"path": "/none"})
    assert (status, told) == (422, {"error": "/none: there is no such folder"})
    assert call(f"{url}/", {"x": [0]}) == (200, {"y": [1]})


def test_each_curl_line_of_several_models_works(server: ServerProcess) -> None:
    server.wait_for("models/other/ -d .*\n")
    lines = curl_lines(server.log)
    assert [run_line(line) for line in lines] == [{"y": [1]}, {"y": [1]}]
    assert not CHATTER.search(server.log)
