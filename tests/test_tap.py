"""The command line: what is taken, what is refused, and what comes of it."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import attrs
import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]

from tests.processes import ROOT, environment
from tests.test_layout import SERVE, graph, write
from txinfer import __version__
from txinfer.cli import main
from txinfer.fetch import FetchPolicy
from txinfer.limits import (
    CallLimits,
    ClientLimits,
    DoorLimits,
    FetchLimits,
    QueueLimits,
    RunLimits,
)
from txinfer.specs import ModelSpec
from txinfer.tap import DEFAULT_PORT, Options, makeService


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder that passes for a SavedModel until TensorFlow sees it."""
    return write(tmp_path / "model", SERVE)


def parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def refusal(*arguments: str) -> str:
    """What is said of a command line: one line, and a status that is not 0."""
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    said = caught.value.code
    assert isinstance(said, str)
    assert said.startswith("txinfer: ")
    assert "\n" not in said
    return said.removeprefix("txinfer: ")


# Values


def test_the_defaults(model: str) -> None:
    options = dict(parsed("--model", model))
    assert options.pop("door") == DoorLimits()
    assert options.pop("limits") == CallLimits()
    assert options.pop("clients") == ClientLimits()
    assert options.pop("fetch") == FetchLimits()
    assert options.pop("queue") == QueueLimits()
    assert options.pop("runs") == RunLimits()
    kinds = (RunLimits, QueueLimits, DoorLimits, CallLimits, ClientLimits, FetchLimits)
    for kind in kinds:
        for field in attrs.fields(kind):
            assert options.pop(field.name) == field.default
    assert options == {
        "model": [model],
        "models": {"model": ModelSpec(model, ("serve",))},
        "versions": [],
        "label": [],
        "tags": ("serve",),
        "poll_seconds": 2.0,
        "model_size": 16 * 1024**3,
        "config": None,
        "batch_size": 0,
        "pad_batches": None,
        "admin_port": None,
        "session_threads": 0,
        "intra_threads": 0,
        "inter_threads": 0,
        "static_path": None,
        "access_log": None,
        "access_log_format": "json",
        "api_key_file": None,
        "batch_transpose": 0,
        "accept_when_ready": 0,
        "no_cors": 0,
        "no_metrics": 0,
        "no_url": 0,
        "port": ["tcp:8080:interface=127.0.0.1"],
        "url_allow": [],
        "trusted_proxy": [],
    }


def test_texts_become_values(model: str, tmp_path: Path) -> None:
    write(tmp_path / "gpu", graph(["serve", "gpu"], ["f"]))
    options = parsed(
        *("--model", str(tmp_path / "gpu")),
        *("--tags", "gpu, serve"),
        *("--batch_size", "8"),
        *("--request_size", "1"),
        *("--static_path", str(tmp_path)),
        *("--batch_transpose", "--no_cors"),
    )
    assert options["tags"] == ("gpu", "serve")
    assert (options["batch_size"], options["request_size"]) == (8, 1)
    assert options["static_path"] == str(tmp_path)
    assert options["batch_transpose"]
    assert options["no_cors"]


def test_hyphens_and_underscores_are_the_same(model: str) -> None:
    options = parsed(
        *("--model", model, "--batch-size", "8", "--request-size=9"),
        *("--batch-transpose", "--no-cors", "--static-path=/", "--url-allow", "a-b.c"),
    )
    assert (options["batch_size"], options["request_size"]) == (8, 9)
    assert options["batch_transpose"]
    assert options["no_cors"]
    assert options["static_path"] == "/"
    assert options["url_allow"] == ["a-b.c"]
    assert parsed("-m", model, "--url_allow", "a-b")["url_allow"] == ["a-b"]


def test_ports_and_allowed_hosts_are_gathered(model: str) -> None:
    options = parsed(
        *("--model", model, "--port", "8081", "-p", "tcp6:0", "--port=unix:/a b"),
        *("--url_allow", "10.0.0.0/8", "--url_allow=files.example"),
    )
    assert options["port"] == ["tcp:8081:interface=127.0.0.1", "tcp6:0", "unix:/a b"]
    assert options["url_allow"] == ["10.0.0.0/8", "files.example"]


def test_paths_are_made_absolute(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = parsed("--model", "model", "--static_path", "model/..")
    assert options["models"]["model"].path == model
    assert options["static_path"] == str(tmp_path)


def test_a_folder_of_versions_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "7", SERVE)
    (spec,) = parsed("--model", str(tmp_path))["models"].values()
    assert spec.path == str(tmp_path)


# Refusals


WHOLE = "must be a whole number of at least 1"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        *(("request_size", value, WHOLE) for value in ("0", "1e6", "10M", "٣")),
        *(
            (name, value, "must be a whole number of at least 0")
            for name in ("batch_size", "intra_threads", "inter_threads")
            for value in ("-1", "1.5", "x", "")
        ),
        *(
            ("tags", value, "must be tags separated by commas")
            for value in ("", ",", "serve,,gpu", "serve,")
        ),
        ("static_path", "/nowhere", "must be a folder"),
        ("static_path", "", "must be a folder"),
        ("static_path", __file__, "must be a folder"),
        *(
            ("port", value, "must be a port number from 0 to 65535")
            for value in ("65536", "tcp:65536", "tcp:-1", "ssl:port=99999")
        ),
        *(
            ("port", value, "must be a port number or a Twisted endpoint (")
            for value in ("", "-1", "http", "carrier:pigeon", "tcp:x", "ssl:443")
        ),
        *(
            ("rate_limit", value, "must be a number of at least 0")
            for value in ("-1", "x")
        ),
        ("api_key_file", "/nowhere", "must be a file that can be read"),
        ("api_key_file", "/", "must be a file that can be read"),
        ("api_key_file", __file__, "line 1: a key has at least 16 letters"),
        ("api_key_file", "/dev/null", "it has no key"),
        ("trusted_proxy", "a.example", "must be an address, a range as 10.1.0.0/16"),
        ("url_allow", "http://a/", "'http://a/' is neither a host name, nor an "),
        ("url_allow", "10.0.0.0/99", "'10.0.0.0/99' is "),
    ],
)
def test_a_bad_value_is_refused_with_its_rule(
    model: str, name: str, value: str, rule: str
) -> None:
    said = refusal("--model", model, f"--{name}={value}")
    assert said.startswith(f"--{name} {value}: {rule}")


def test_sizes_of_batches_are_put_in_order(model: str) -> None:
    options = parsed("--model", model, "--pad_batches", "8, 1,2,2")
    assert options["pad_batches"] == (1, 2, 8)
    inference = makeService(options, MemoryReactorClock()).inference
    assert inference.policy.max_rows == 8
    for text in ("", "0", "1,", "x", "1.5"):
        said = refusal("--model", model, f"--pad_batches={text}")
        rule = "must be whole numbers of at least 1: 1,2,4"
        assert said == f"--pad_batches {text}: {rule}"


@pytest.mark.parametrize("value", ["a\nb", "\n"])
def test_a_value_of_two_lines_is_refused_in_one(model: str, value: str) -> None:
    for name in ("batch_size", "port", "static_path", "url_allow", "model"):
        assert refusal("--model", model, f"--{name}={value}").startswith(f"--{name} ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--model PATH: required"),
        (["--model"], "option --model requires argument"),
        (["--bach_size", "3"], "option --bach_size not recognized"),
        (["--no_cors=1"], "option --no_cors must not have an argument"),
        (["model"], "'model': only options are taken"),
        (["-x"], "option -x not recognized"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    arguments: list[str], said: str
) -> None:
    assert refusal(*arguments) == said


def test_a_path_is_refused_for_what_is_wrong_with_it(tmp_path: Path) -> None:
    def why(path: Path, *more: str) -> str:
        return refusal("--model", str(path), *more).removeprefix(f"--model {path}: ")

    assert why(tmp_path / "none") == "there is no such folder"
    assert why(tmp_path) == "neither a SavedModel nor a folder of version folders"
    write(tmp_path, SERVE)
    tags = why(tmp_path, "--tags", "train")
    assert tags == "no graph is tagged train; there is: serve"
    write(tmp_path, graph(["serve"], ["__saved_model_init_op"]))
    assert why(tmp_path) == "the graph tagged serve has no signature"
    write(tmp_path)
    assert why(tmp_path) == "saved_model.pb is not a SavedModel: it has no graph"


# What is said without TensorFlow


def test_help_lists_every_option_with_its_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["serve", "--model", "x", "--help"])
    said = capsys.readouterr().out
    assert said.startswith("Usage: txinfer serve --model PATH [options]\n")
    text = " ".join(said.split()).removesuffix(Options.longdesc)
    _, *described = re.split(r"(?:-\w, )?--(\w+)=? ", text)
    listed = dict(zip(described[::2], described[1::2], strict=True))
    for name, end in {
        "model": "Required.",
        "versions": "[default: latest]",
        "label": "Repeatable.",
        "config": "override it.",
        "static_path": "/web/.",
        "batch_transpose": "several.",
        "no_cors": "call.",
        "no_metrics": "/stats.",
        "no_url": "fetched.",
        "port": f"Repeatable. [default: {DEFAULT_PORT}]",
        "url_allow": "Repeatable.",
        "trusted_proxy": "Repeatable.",
        "api_key_file": "have one.",
    }.items():
        assert listed[name].strip().endswith(end), name
    for name, _, default, _ in Options.optParameters:
        if default is not None:
            assert listed[name].strip().endswith(f"[default: {default}]"), name
    known = {name.rstrip("=").replace("-", "_") for name in Options().longOpt}
    assert set(listed) == known


def test_twistd_s_help_is_twistd_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ServerOptions().parseOptions(["tfinfer", "--help"])
    assert not caught.value.code
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "Usage: twistd [options] tfinfer --model PATH [options]"
    assert any("--url_allow=" in line for line in rest)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    with pytest.raises(SystemExit) as caught:
        parsed("--version")
    assert not caught.value.code
    assert capsys.readouterr().out == f"txinfer {__version__}\n" * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "txinfer: a command is needed"),
        (["sevre", "--help"], "txinfer: unknown command 'sevre'"),
    ],
)
def test_any_other_command_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert str(caught.value.code).startswith("Usage: txinfer serve ")
    assert str(caught.value.code).endswith(said)


WITHOUT_TENSORFLOW = """
import sys
from txinfer.cli import main
for arguments in (["--help"], ["--version"], ["serve", "--help"], ["serve"],
                  ["serve", "--model", sys.argv[1]],
                  ["serve", "--model", sys.argv[2], "--tags", "train"],
                  ["serve", "--model", sys.argv[2], "--port", "pigeon"]):
    try:
        main(arguments)
    except SystemExit as end:
        print(end.code, file=sys.stderr)
wanted = {"tensorflow", "keras", "google.protobuf"}
sys.exit("imported" if wanted & set(sys.modules) else 0)
"""


def test_it_takes_no_tensorflow_to_help_and_to_refuse(
    model: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, str(tmp_path / "none"), model],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 4


# What comes of it


def test_keys_and_rates_reach_the_service(model: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("alice:0123456789abcdef\n")
    options = parsed(
        *("--model", model, "--api_key_file", str(keys)),
        *("--rate_limit", "2.5", "--rate_burst", "9"),
    )
    assert options["api_key_file"].name(b"0123456789abcdef") == "alice"
    assert options["clients"] == ClientLimits(rate_limit=2.5, rate_burst=9)
    assert not makeService(options, MemoryReactorClock()).inference.guard.admits_all


def test_the_access_log_reaches_the_server(model: str, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    options = parsed("--model", model, "--access_log", path)
    assert options["access_log"] == path
    server = makeService(options, MemoryReactorClock())
    assert server._site.on_answer is not None
    assert server._site.on_refusal is not None
    assert parsed("--model", model, "--access_log", "-")["access_log"] == "-"
    silent = makeService(parsed("--model", model), MemoryReactorClock())
    assert silent._site.on_answer is None


def test_everybody_is_let_in_by_default(model: str) -> None:
    server = makeService(parsed("--model", model), MemoryReactorClock())
    assert server.inference.guard.admits_all


def test_every_option_reaches_the_service(tmp_path: Path) -> None:
    path = write(tmp_path / "gpu", graph(["gpu"], ["f"]))
    options = parsed(
        *("--model", path, "--tags", "gpu", "--batch_size", "8"),
        *("--request_size", "9", "--static_path", str(tmp_path), "--batch_transpose"),
        *("--no_cors", "--port", "0", "--port", "tcp:1", "--url_allow", "a.example"),
        *("--url_count", "1", "--url_size", "2", "--url_timeout", "0.5"),
        *("--url_redirects", "0", "--url_concurrent", "3", "--poll_seconds", "0.5"),
        *("--session_threads", "2", "--intra_threads", "3", "--inter_threads", "4"),
        *("--queue_rows", "70", "--queue_bytes", "71"),
        *("--stuck_seconds", "7.5", "--drain_seconds", "0"),
    )
    server = makeService(options, MemoryReactorClock())
    inference = server.inference
    assert inference.models == {"gpu": ModelSpec(path, ("gpu",))}
    assert inference.policy.max_rows == 8
    assert inference._threads == 2
    assert isinstance(inference._load_folder, partial)
    session = inference._load_folder.keywords["policy"]
    assert (session.intra_threads, session.inter_threads) == (3, 4)
    assert inference.policy.runs == RunLimits(stuck_seconds=7.5, drain_seconds=0)
    assert (inference.held.max_rows, inference.held.max_size) == (70, 71)
    assert inference.limits.request_size == 9
    assert inference.limits.url_count == 1
    assert inference.batch_transpose
    assert not inference.cors
    assert inference._poll_seconds == 0.5
    assert inference._static_path == str(tmp_path)
    assert inference._fetch_policy == FetchPolicy(
        ("a.example",),
        FetchLimits(url_size=2, url_timeout=0.5, url_redirects=0, url_concurrent=3),
    )


def test_the_defaults_reach_the_service(model: str) -> None:
    inference = makeService(parsed("--model", model), MemoryReactorClock()).inference
    assert inference.policy.max_rows == 32
    assert inference.limits.request_size == 10485760
    assert inference.cors
    assert not inference.batch_transpose
    assert inference._static_path is None
    assert inference._fetch_policy == FetchPolicy()


def test_urls_can_be_turned_off(model: str) -> None:
    options = parsed("--model", model, "--no_url", "--url_allow", "a.example")
    assert makeService(options, MemoryReactorClock()).inference._fetch_policy is None


def test_every_port_is_listened_at_in_order(model: str) -> None:
    reactor = MemoryReactorClock()
    options = parsed(
        "--model", model, "--port", "81", "--port", r"tcp:82:interface=\:\:1"
    )
    makeService(options, reactor).privilegedStartService()
    heard = [(port, interface) for port, _, _, interface in reactor.tcpServers]
    assert heard == [(81, "127.0.0.1"), (82, "::1")]
