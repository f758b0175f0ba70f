"""Which models are served: where each is, and which of its versions."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import attrs
from attrs.validators import ge

from . import layout
from .errors import InvalidModel

if TYPE_CHECKING:
    # The command line is read without numpy.
    from .interfaces import IModel

#: Names of models and labels: one segment of a URL that needs no escapes.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

NAME_RULE = "must be letters, digits, '.', '_' and '-', at most 64, no sign first"

MISSING = "none of the wanted versions is there; there is:"

#: The name of a model whose path has no letters.
NAMELESS = "default"

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")


class VersionPolicy(Protocol):
    """Which versions are wanted of those that are there."""

    def choose(self, numbers: Collection[int]) -> set[int]:
        """Those that are wanted."""

    def missing(self, numbers: Collection[int]) -> set[int]:
        """Those that are wanted although they are not there."""


@attrs.frozen
class Latest:
    """The ``count`` highest versions; ValueError if that is less than one."""

    count: int = attrs.field(default=1, validator=ge(1))

    def choose(self, numbers: Collection[int]) -> set[int]:
        """See :class:`VersionPolicy`."""
        return set(sorted(numbers, reverse=True)[: self.count])

    def missing(self, numbers: Collection[int]) -> set[int]:
        """See :class:`VersionPolicy`."""
        return set()


@attrs.frozen
class Only:
    """These versions and no others."""

    numbers: frozenset[int]

    def choose(self, numbers: Collection[int]) -> set[int]:
        """See :class:`VersionPolicy`."""
        return set(self.numbers.intersection(numbers))

    def missing(self, numbers: Collection[int]) -> set[int]:
        """See :class:`VersionPolicy`."""
        return set(self.numbers.difference(numbers))


LATEST = Latest()
ALL = Latest(sys.maxsize)


@attrs.frozen
class ModelSpec:
    """One model that is served.

    Args:
        path: a SavedModel directory, or a folder of integer version folders; or a
            URL: see :mod:`txinfer.places`.
        tags: the tags of the graph to load; None for those of the service.
        versions: which of the versions are served.
        labels: versions that have a name; they are served too.
        load: makes the model instead of TensorFlow, as its version 1; blocks, in
            a thread, and raises :class:`~txinfer.errors.InvalidModel`. The path
            is then no more than a name.
    """

    path: str
    tags: tuple[str, ...] | None = None
    versions: VersionPolicy = LATEST
    labels: Mapping[str, int] = attrs.field(factory=dict)
    load: Callable[[], IModel] | None = attrs.field(default=None, kw_only=True)


def name_of(path: str) -> str:
    """What a model is called if nobody says: by its folder, not by its version's."""
    parts = [part for part in urlsplit(path).path.split("/") if part]
    while len(parts) > 1 and parts[-1].isdecimal():
        parts.pop()
    last = parts[-1] if parts else ""
    for suffix in ARCHIVES:
        last = last.removesuffix(suffix)
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")
    return cleaned[:64] or NAMELESS


def as_specs(
    path: str | None,
    models: Mapping[str, str | ModelSpec] | None,
    tags: tuple[str, ...],
    load: Callable[[], IModel] | None,
) -> dict[str, ModelSpec]:
    """The models of a service, by name, from its arguments.

    Raises:
        ValueError: there are none, or a name cannot be one.
    """
    if path is not None:
        models = {name_of(path): ModelSpec(path, load=load), **(models or {})}
    if not models:
        raise ValueError("at least one model is needed")
    specs = {}
    for name, given in models.items():
        spec = ModelSpec(given) if isinstance(given, str) else given
        specs[parse_name(name)] = attrs.evolve(spec, tags=spec.tags or tags)
    return specs


def check_spec(spec: ModelSpec) -> None:
    """See whether a model can be what is asked for, without TensorFlow.

    Raises:
        InvalidModel: none of the wanted versions can; for the highest of them.
    """
    folders = layout.versions(spec.path)
    good = set(folders)
    first: InvalidModel | None = None
    while wanted := wanted_of(good, spec.versions, spec.labels):
        number = max(wanted)
        try:
            layout.check(folders[number], spec.tags or ())
        except InvalidModel as error:
            first = first or error
            good.discard(number)
        else:
            return
    raise first or layout.invalid(spec.path, f"{MISSING} {listed(folders)}")


def wanted_of(
    numbers: Collection[int], policy: VersionPolicy, labels: Mapping[str, int]
) -> set[int]:
    """Those of the versions that are wanted, by policy or by label."""
    return policy.choose(numbers) | set(labels.values()).intersection(numbers)


def listed(numbers: Iterable[int]) -> str:
    """Versions in words."""
    return ", ".join(map(str, sorted(numbers)))


def parse_name(text: str) -> str:
    """A name of a model or label; ValueError if it cannot be one."""
    if not NAME.fullmatch(text):
        raise ValueError(NAME_RULE)
    return text


def parse_tags(text: str) -> tuple[str, ...]:
    """Tags with commas between them; ValueError if one is empty."""
    tags = tuple(tag.strip() for tag in text.split(","))
    if not all(tags):
        raise ValueError("must be tags separated by commas")
    return tags


def parse_versions(text: str) -> VersionPolicy:
    """``latest``, ``latest:N``, ``all``, or numbers; ValueError if it is neither."""
    if text == "all":
        return ALL
    kind, _, count = text.partition(":")
    if kind == "latest":
        if text == "latest":
            return LATEST
        if _is_number(count) and int(count):
            return Latest(int(count))
    numbers = [number.strip() for number in text.split(",")]
    if all(map(_is_number, numbers)):
        return Only(frozenset(map(int, numbers)))
    raise ValueError("must be latest, latest:N, all, or version numbers: 3,4")


def parse_version(text: str) -> int:
    """The number of a version; ValueError if it is none."""
    if not _is_number(text):
        raise ValueError("must be the number of a version")
    return int(text)


def _is_number(text: str) -> bool:
    # int() takes time quadratic in the length.
    return text.isascii() and text.isdigit() and len(text) < 20
