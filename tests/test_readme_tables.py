"""The tables of options, limits and metrics say what the code says."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

import attrs
import pytest

from tests.processes import ROOT
from txinfer import limits
from txinfer.families import COUNTERS, GAUGES, HISTOGRAMS
from txinfer.tap import DEFAULT_PORT, Options

# A row: | `--name VALUE`, `-n` | `default` | what it does |
ROW = re.compile(
    r"\| `--(?P<name>\w+)(?: (?P<value>[A-Z_|=]+))?`(?:, `-(?P<short>\w)`)? "
    r"\| (?P<default>[^|]+) \| (?P<text>.+) \|"
)

# Twisted's, in every program of its kind.
INHERITED = {"help", "version"}

# Options that may be repeated are methods, which have no default to be read.
DEFAULTS: dict[str, object] = {"port": DEFAULT_PORT, "versions": "latest"}


class Row(NamedTuple):
    """What is to be known of an option."""

    takes_value: bool
    short: str | None
    default: str


def table() -> dict[str, Row]:
    """The rows of the README's table, by name."""
    section = (ROOT / "README.md").read_text("utf-8").partition("\n## Options\n")[2]
    lines = section.partition("\n## ")[0].splitlines()
    start = lines.index("| option | default | |")
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        match = ROW.fullmatch(line)
        assert match, f"the row is not in the table's form: {line}"
        assert match["name"] not in rows, match["name"]
        rows[match["name"]] = Row(
            match["value"] is not None, match["short"], match["default"].strip("`")
        )
    return rows


def code() -> dict[str, Row]:
    """The same, as the parser has it."""
    options = Options()
    shorts = {
        options.synonyms[letter].replace("-", "_"): letter
        for letter in options.shortOpt.replace(":", "")
    }
    rows = {}
    for entry in options.longOpt:
        name = entry.rstrip("=").replace("-", "_")
        takes_value = entry.endswith("=")
        if name not in INHERITED:
            default = DEFAULTS.get(name, options.get(name))
            rows[name] = Row(takes_value, shorts.get(name), shown(default, takes_value))
    return rows


def shown(default: object, takes_value: bool) -> str:
    """A default as the table has it."""
    if not takes_value:
        assert not default
        return "off"
    return "none" if default in (None, []) else str(default)


@pytest.mark.parametrize("name", sorted(code()))
def test_every_option_has_a_row_with_its_default(name: str) -> None:
    row, wanted = table().get(name), code()[name]
    assert row is not None, f"README.md has no row for --{name}"
    if row.default == "required":
        assert wanted.default == "none"
        row = row._replace(default="none")
    assert row == wanted


def test_every_row_is_of_an_option() -> None:
    assert table().keys() <= code().keys()


def test_the_table_begins_with_what_is_required() -> None:
    assert next(iter(table().values())).default == "required"


def test_the_table_of_limits_has_each_with_its_default() -> None:
    section = (ROOT / "SECURITY.md").read_text("utf-8").partition("\n## Limits\n")[2]
    rows = re.findall(r"^\| `--(\w+)` \| `(\S+)` \| .+ \|$", section, re.M)
    kinds = [
        kind
        for kind in vars(limits).values()
        if inspect.isclass(kind) and attrs.has(kind)
    ]
    fields = [field for kind in kinds for field in attrs.fields(kind)]
    assert len(rows) == len(fields)
    assert dict(rows) == {field.name: str(field.default) for field in fields}


def test_the_table_of_metrics_has_each_with_its_labels() -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("\n### Metrics\n")[2]
    rows = re.findall(r"^\| (`txinfer_.*?) \| (.*?) ?\| ", section, re.M)
    told = {
        name: tuple(re.findall(r"`(\w+)`", labels))
        for names, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    families = (*HISTOGRAMS, *COUNTERS, *GAUGES)
    assert told == {family.name: family.labels for family in families}
