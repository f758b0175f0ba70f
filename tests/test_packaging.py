"""What is built from the tree installs, whole, and twistd sees it."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import txinfer

TREE = Path(__file__).parent.parent
MODULES = [
    path.relative_to(TREE)
    for folder in ("txinfer", "twisted")
    for path in sorted((TREE / folder).rglob("*.py"))
]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed, away from the tree."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive, built from a copy of the tree."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TREE / name, copy)
    for name in ("txinfer", "twisted"):
        shutil.copytree(
            TREE / name,
            copy / name,
            ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"),
        )
    run(sys.executable, "-m", "build", "--no-isolation", cwd=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def borrow(lender: Path, borrower: Path) -> None:
    """Link what is installed elsewhere, but for txinfer and ways to its tree.

    The wheel shares the folders of Twisted; those are merged, as by pip.
    """
    for lent in lender.iterdir():
        own = borrower / lent.name
        if lent.suffix in (".pth", ".cache") or lent.name.startswith("txinfer"):
            continue
        if lent.name in ("twisted", "plugins") and own.is_dir():
            borrow(lent, own)
        elif not own.exists():
            own.symlink_to(lent)


@pytest.fixture(scope="module")
def bin_path(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are of an environment with the wheel installed.

    The environment borrows what txinfer depends on from the running one, since
    installing TensorFlow takes minutes.
    """
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=home)
    (site_packages,) = home.glob("lib/python*/site-packages")
    # Were it missing, the link to all of Twisted would bring the lender's plugin.
    (site_packages / "twisted" / "plugins").mkdir(parents=True, exist_ok=True)
    for lender in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        borrow(Path(lender), site_packages)
    # The commands of the loan, started by this environment's Python.
    (home / "bin" / "twistd").write_text(
        f"#!{python}\nfrom twisted.scripts.twistd import run\nrun()\n"
    )
    (home / "bin" / "twistd").chmod(0o755)
    return home / "bin"


def test_the_wheel_holds_every_module_and_the_mark_of_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {"txinfer/py.typed", *(path.as_posix() for path in MODULES)}
    assert "twisted/plugins/txinfer_dropin.py" in held


def test_no_file_of_twisted_itself_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("twisted/")}
    assert held == {"twisted/plugins/txinfer_dropin.py"}


def test_what_is_installed_is_the_wheel_and_not_the_tree(bin_path: Path) -> None:
    code = "import txinfer, twisted.plugins.txinfer_dropin as d; print(txinfer, d)"
    output = run(bin_path / "python", "-c", code, cwd=bin_path).stdout
    assert output.count(f"from '{bin_path.parent}/") == 2


def test_twistd_lists_the_command(bin_path: Path) -> None:
    output = run(bin_path / "twistd", "--help", cwd=bin_path).stdout
    assert re.search(r"^ +tfinfer +Serve a TensorFlow SavedModel", output, re.MULTILINE)


def test_the_console_command_tells_the_version(bin_path: Path, wheel: Path) -> None:
    version = wheel.name.split("-")[1]
    assert version in run(bin_path / "txinfer", "--version", cwd=bin_path).stdout


@pytest.mark.parametrize(
    "command",
    [("twistd", "tfinfer", "--help"), ("txinfer", "--help"), ("txinfer", "--version")],
    ids=" ".join,
)
def test_help_does_not_wait_for_tensorflow(
    bin_path: Path, command: tuple[str, ...]
) -> None:
    name, *arguments = command
    done = run(
        bin_path / "python",
        *("-X", "importtime"),
        bin_path / name,
        *arguments,
        cwd=bin_path,
    )
    imported = re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE)
    assert {name for name in imported if name.startswith("txinfer")}
    assert not {name for name in imported if name.startswith("tensorflow")}


def imports(path: Path) -> Iterator[str]:
    """The first names of the modules that a file imports, but for its own."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def required(wheel: Path) -> set[str]:
    """The distributions that the wheel asks for, itself or for models elsewhere."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    lines = re.findall(r"^Requires-Dist: ([\w.-]+)(.*)$", metadata, re.MULTILINE)
    return {
        plain(name)
        for name, rest in lines
        if "extra ==" not in rest or re.search("extra == .remote.", rest)
    }


def plain(name: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", txinfer.__all__)
def test_public_names_are_there_when_they_are_asked_for(name: str) -> None:
    assert getattr(txinfer, name) is not None
    assert name == "__version__" or name in txinfer._HOMES


def test_there_are_no_other_public_names() -> None:
    assert {*txinfer._HOMES, "__version__"} == set(txinfer.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = txinfer.Nothing


def test_whatever_the_package_imports_is_asked_for(wheel: Path) -> None:
    homes = importlib.metadata.packages_distributions()
    asked_for = required(wheel) | {"txinfer"}
    foreign = {
        name
        for path in MODULES
        for name in imports(TREE / path)
        if name not in sys.stdlib_module_names and name != "txinfer"
    }
    assert {
        name
        for name in foreign
        # What only an older Python needs is not installed.
        if not asked_for & {plain(home) for home in homes.get(name, (name,))}
    } == set()
    assert "tensorflow" in foreign
