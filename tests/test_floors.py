"""Imports go down: a module imports only from floors below its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "txinfer"

FLOORS = [
    {"company", "overlap", "processors"},
    {
        "errors",
        "pools",
        "progress",
        "wire",
        "transfer",
        "limits",
        "trace",
        "cost",
        "keys",
        "proxies",
        "rates",
        "accept",
        "arriving",
        "collecting",
        "images",
        "least",
        "wheel",
        "delivery",
        "trust",
        "memory",
        "sockets",
        "readers",
        "quota",
    },
    {
        "tensors",
        "tfwarmup",
        "download",
        "addresses",
        "graphs",
        "layout",
        "observe",
        "headers",
        "refusals",
        "policy",
        "files",
    },
    {
        "archive",
        "tensorprotos",
        "interfaces",
        "leaves",
        "bounds",
        "counting",
        "regular",
        "lookup",
        "request",
        "counts",
        "accesslines",
        "guard",
        "held",
        "errand",
        "codings",
        "optvalues",
        "deadlines",
        "gone",
        "overdue",
        "turns",
        "freeze",
        "captures",
    },
    {"values", "numeric", "shortest", "heads", "elsewhere", "seen"},
    {"incoming"},
    {
        "threads",
        "blame",
        "specs",
        "calls",
        "reading",
        "answers",
        "madeup",
        "failures",
        "metrics",
        "connection",
        "casts",
        "npy",
    },
    {"picked", "ends"},
    {
        "waiting",
        "places",
        "again",
        "slots",
        "config",
        "http",
        "inputs",
        "routing",
        "probe",
        "readings",
        "stats",
        "hop",
        "npz",
        "multipart",
        "tune",
    },
    {"session", "schedule", "gathering", "admission", "drain"},
    {"original", "functions", "frozen"},
    {"ways"},
    {
        "collector",
        "configopts",
        "warmup",
        "site",
        "web",
        "sample",
        "savedmodel",
        "urls",
        "families",
        "visits",
        "chain",
        "fields",
        "forms",
    },
    {
        "modelopts",
        "methods",
        "sources",
        "callers",
        "quiet",
        "static",
        "exposition",
        "fetch",
        "repeats",
        "jsonout",
    },
    {"models", "jsonin", "replies", "remote", "buckets"},
    {"registry", "warming", "origin", "bodies"},
    {"protocols.quick"},
    {"loader", "notes", "refused", "protocols.native"},
    {"watch", "protocols.addressed", "describe", "operations", "accesslog"},
    {"life", "rehearsal"},
    {"paths", "administration"},
    {"admin"},
    {"service"},
    {"server"},
    {"tap"},
    {"cli"},
]
#: What is made of TensorFlow's objects.
TENSORFLOW = {
    "tensorprotos",
    "session",
    "original",
    "ways",
    "functions",
    "frozen",
    "savedmodel",
}
FLOOR = {module: level for level, floor in enumerate(FLOORS) for module in floor}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }


def imported(module: str, path: Path) -> Iterator[str]:
    """The modules of the package that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = module.split(".")[: -node.level]
            base = [*package, *(node.module or "").split(".")]
            base = [part for part in base if part]
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                found = whole if whole in FLOOR else ".".join(base)
                if found:
                    yield found


def outside(path: Path) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_every_module_has_a_floor() -> None:
    assert modules().keys() == FLOOR.keys()


@pytest.mark.parametrize("module", modules())
def test_imports_go_down(module: str) -> None:
    for other in imported(module, modules()[module]):
        assert FLOOR[other] < FLOOR[module], f"{module} imports {other}"


@pytest.mark.parametrize("module", modules())
def test_only_the_adapter_imports_tensorflow(module: str) -> None:
    if module not in TENSORFLOW:
        assert "tensorflow" not in outside(modules()[module])


@pytest.mark.parametrize("module", modules())
def test_nobody_reads_a_clock_of_their_own(module: str) -> None:
    assert not outside(modules()[module]) & {"time", "datetime"}
