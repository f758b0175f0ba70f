"""The units of examples/deploy under a real systemd, in a container of its own.

The container's files are those of this machine, with what is changed in memory, so
nothing has to be fetched; it has a network of its own. Where none can be booted (that
takes root, and a kernel that lets it) the tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import PATIENCE, ROOT, eventually, needed

# What the container has of Python: where the units' user may read it, which a home is
# not. The program is not that of the virtual environment, which links to one.
PYTHON = Path(sys.base_prefix)
PROGRAM = Path(os.path.realpath(sys.executable)).relative_to(os.path.realpath(PYTHON))
COMMAND = f"""\
#!/bin/sh
export PYTHONPATH=/opt/source:/opt/packages LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/{PROGRAM} -m txinfer.cli "$@"
"""

# A container's systemd takes only the second version of control groups, and nspawn
# only a folder that is not the root.
BOOT = """\
set -e
group=/sys/fs/cgroup/$1; folder=$2; shift 2
if mountpoint -q /sys/fs/cgroup; then umount -R /sys/fs/cgroup; fi
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p $group
echo $$ > $group/cgroup.procs
mount -t tmpfs tmpfs $folder
mkdir $folder/upper $folder/work $folder/root
mount -t overlay overlay -o lowerdir=/,upperdir=$folder/upper,workdir=$folder/work \
    $folder/root
# What this machine starts by itself is not wanted.
rm -rf $folder/root/etc/systemd/system
cp -r "$1"/. $folder/root/
shift
exec systemd-nspawn --quiet --keep-unit --register=no --directory=$folder/root \
    --private-network --resolv-conf=off --timezone=off --link-journal=no \
    --console=pipe "$@" --boot -- --unit=basic.target
"""

SWEEP = """\
if mountpoint -q /sys/fs/cgroup; then umount -R /sys/fs/cgroup; fi
mount -t cgroup2 cgroup2 /sys/fs/cgroup
find /sys/fs/cgroup/$1 -depth -type d -exec rmdir {} +
"""

# Each call is on a connection of its own; prints the statuses when its input ends.
CALLS = """\
import http.client, json, select, sys
def call():
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=120)
    connection.request("POST", "/", '{"x": [1]}')
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status
statuses = [call()]
print(statuses[0], flush=True)
while sys.argv[1:] and not select.select([sys.stdin], [], [], 0.01)[0]:
    statuses.append(call())
print(json.dumps(statuses))
"""


def isolated(script: str, *arguments: object) -> list[str]:
    """The command that runs a shell script with mounts of its own."""
    own = ("unshare", "--mount", "--propagation", "private")
    return [*own, "sh", "-c", script, "sh", *map(str, arguments)]


class Machine:
    """A container in which systemd is the first process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._init = ""

    def boots(self) -> bool:
        """Wait until it has booted; whether it has."""

        def settled() -> bool:
            if self._process.poll() is not None:
                return True
            found = subprocess.run(
                ["pgrep", "-P", str(self._process.pid), "-x", "systemd"],
                capture_output=True,
                text=True,
            )
            self._init = found.stdout.strip()
            state = self._init and self.run("systemctl", "is-system-running")
            # Some unit of this machine may not be for a container.
            return state in ("running", "degraded")

        eventually(settled)
        return self._process.poll() is None

    def inside(self, *command: str, only: str = "--all") -> list[str]:
        """A command as it is run in the container."""
        return ["nsenter", "--target", self._init, only, *command]

    def run(self, *command: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            self.inside(*command), capture_output=True, text=True, timeout=PATIENCE
        )
        return done.stdout.strip()

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.run("systemctl", "show", "--value", "-p", name, "txinfer.service")

    def calls(self, *until: str) -> subprocess.Popen[str]:
        """A client, which has been answered once."""
        client = subprocess.Popen(
            self.inside(sys.executable, "-c", CALLS, *until, only="--net"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout is not None
        first = client.stdout.readline().strip()
        assert first == "200", self.run("journalctl", "--no-pager", "-n", "50")
        return client


def statuses(client: subprocess.Popen[str]) -> list[int]:
    """What a client has been answered; it ends."""
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.close()
    answered: list[int] = json.loads(client.stdout.readline())
    client.stdout.close()
    assert client.wait(PATIENCE) == 0
    return answered


def furnish(folder: Path, model: str) -> None:
    """Lay out what the container has besides the files of this machine."""
    units = folder / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for name in ("txinfer.service", "txinfer.socket"):
        shutil.copy(ROOT / "examples" / "deploy" / name, units)
    source = folder / "opt" / "source"
    shutil.copytree(ROOT / "txinfer", source / "txinfer")
    shutil.copytree(ROOT / "twisted", source / "twisted")
    program = folder / "opt" / "txinfer" / "bin" / "txinfer"
    program.parent.mkdir(parents=True)
    program.write_text(COMMAND, "utf-8")
    program.chmod(0o755)
    for name in ("python", "packages"):
        (folder / "opt" / name).mkdir()
    shutil.copytree(model, folder / "srv" / "txinfer" / "model")
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, saved_model: Callable[[str], str]
) -> Iterator[Machine]:
    """A machine at which txinfer.socket listens, and nothing has come yet."""
    needed("systemd-nspawn", "systemd-container")
    if os.geteuid() != 0:
        pytest.skip("only root may boot a container")
    files, folder = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("root")
    furnish(files, saved_model("affine"))
    group = f"txinfer-test-{os.getpid()}"
    binds = {PYTHON: "python", Path(sysconfig.get_path("purelib")): "packages"}
    options = [f"--bind-ro={path}:/opt/{name}" for path, name in binds.items()]
    options.append(f"--machine={group}")
    with (folder.parent / "boot.log").open("w+") as log:
        process = subprocess.Popen(
            isolated(BOOT, group, folder, files, *options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        machine = Machine(process)
        try:
            if not machine.boots():
                log.seek(0)
                pytest.skip(f"no container can be booted here: {log.read()}")
            machine.run("systemctl", "start", "txinfer.socket")
            yield machine
        finally:
            process.terminate()  # which is an orderly end
            process.wait(PATIENCE)
            subprocess.run(isolated(SWEEP, group), capture_output=True)


def test_the_first_connection_starts_the_service_and_is_answered(
    machine: Machine,
) -> None:
    assert machine.show("ActiveState") == "inactive"
    assert statuses(machine.calls()) == [200]
    assert machine.show("ActiveState") == "active"


def test_it_runs_with_all_that_the_unit_takes_away(machine: Machine) -> None:
    assert statuses(machine.calls()) == [200]
    pid = machine.show("MainPID")
    status = machine.run("cat", f"/proc/{pid}/status")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert "0" not in fields["Uid"].split()
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"
    assert fields["Seccomp"].strip() == "2"
    # Of TensorFlow's start nothing is said.
    told = machine.run("journalctl", "--no-pager", "-o", "cat", "-u", "txinfer")
    assert "Serving /srv/txinfer/model" in told
    assert "cuda" not in told.lower()


def test_a_restart_costs_nobody_an_answer(machine: Machine) -> None:
    client = machine.calls("until told")
    before = machine.show("MainPID")
    machine.run("systemctl", "restart", "txinfer.service")
    # It is answered by the next process, for which it has waited.
    assert statuses(machine.calls()) == [200]
    assert machine.show("MainPID") != before
    assert machine.show("Result") == "success"
    answered = statuses(client)
    assert set(answered) == {200}
    assert len(answered) > 1


def test_what_is_killed_comes_back(machine: Machine) -> None:
    assert statuses(machine.calls()) == [200]
    machine.run("kill", "-KILL", machine.show("MainPID"))
    assert statuses(machine.calls()) == [200]
    assert machine.show("NRestarts") == "1"
