"""The options that say which models are served."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import attrs
from twisted.python import usage

from . import optvalues
from .configopts import ConfigOptions
from .errors import InvalidModel
from .places import MODEL_SIZE, check_model, is_url, shown
from .specs import (
    NAME,
    ModelSpec,
    name_of,
    parse_name,
    parse_tags,
    parse_version,
    parse_versions,
)

T = TypeVar("T")


class ModelOptions(ConfigOptions):
    """Options to be extended by others; ``self["models"]`` is what these come to."""

    optParameters: ClassVar[list[list[Any]]] = [
        ["tags", None, "serve", "Tags of the graph to load, comma separated."],
        [
            "poll_seconds",
            None,
            "2",
            "Seconds between two looks for new versions; with 0 there is only one.",
        ],
        [
            "model_size",
            None,
            str(MODEL_SIZE),
            "Largest archive, or model fetched from a URL, in bytes.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["model"] = []
        self["versions"] = []
        self["label"] = []

    def opt_model(self, text: str) -> None:
        """PATH or NAME=PATH: a SavedModel directory, or a folder of integer version
        folders; or the URL of an archive, or of a folder in an object store.
        Repeatable. Required.
        """
        self["model"].append(text)

    opt_m = opt_model

    def opt_versions(self, text: str) -> None:
        """Which versions are served: latest, latest:N, all, or numbers, as 3,4; for
        one of several models NAME=... Repeatable. [default: latest]
        """
        self["versions"].append(text)

    def opt_label(self, text: str) -> None:
        """A name for a version: LABEL=VERSION; for one of several models
        NAME:LABEL=VERSION. Repeatable.
        """
        self["label"].append(text)

    def postOptions(self) -> None:
        """Turn texts into values, and see whether there are such models."""
        super().postOptions()
        self["tags"] = checked("tags", self["tags"], parse_tags)
        self["poll_seconds"] = checked("poll_seconds", self["poll_seconds"], _seconds)
        self["model_size"] = checked(
            "model_size", self["model_size"], optvalues.positive
        )
        specs = self._named()
        for text in self["versions"]:
            name, policy = checked("versions", text, _versions)
            for it in self._meant("versions", text, name, specs):
                specs[it] = attrs.evolve(specs[it], versions=policy)
        for text in self["label"]:
            name, label, number = checked("label", text, _label)
            for it in self._meant("label", text, name, specs):
                labels = {**specs[it].labels, label: number}
                specs[it] = attrs.evolve(specs[it], labels=labels)
        self["models"] = {
            name: self._finished(name, spec) for name, spec in specs.items()
        }

    def _named(self) -> dict[str, ModelSpec]:
        """The models by name, in order."""
        specs: dict[str, ModelSpec] = {}
        for text in self["model"]:
            name, path = _split_model(text)
            if name in specs or name in self.tables:
                why = f"another model is called '{name}' too; NAME=PATH names this one"
                raise usage.UsageError(f"--model {text}: {why}")
            specs[name] = ModelSpec(path)
        specs.update(self.tables)
        if not specs:
            raise usage.UsageError("--model PATH: required")
        return specs

    def _meant(
        self, option: str, text: str, name: str | None, specs: dict[str, ModelSpec]
    ) -> list[str]:
        """The models that an option is about; without a name there must be one."""
        if name is None and len(specs) == 1:
            return list(specs)
        if name is not None and name in specs:
            return [name]
        why = "which model is meant" if name is None else "no such model"
        raise usage.UsageError(f"--{option} {text}: {why}; known: {', '.join(specs)}")

    def _finished(self, name: str, spec: ModelSpec) -> ModelSpec:
        """A model with nothing left out, once it is found to be there."""
        # twistd changes to --rundir (or, detached, to /) later on.
        path = spec.path if is_url(spec.path) else os.path.abspath(spec.path)
        spec = attrs.evolve(spec, path=path, tags=spec.tags or self["tags"])
        try:
            check_model(spec)
        except InvalidModel as error:
            raise usage.UsageError(f"--model {error}") from None
        except ValueError as error:
            raise usage.UsageError(f"--model {shown(path)}: {error}") from None
        return spec


def checked(name: str, text: str, rule: Callable[[str], T]) -> T:
    """The value of an option; UsageError naming it, the text and the rule."""
    try:
        return rule(text)
    except ValueError as error:
        raise usage.UsageError(f"--{name} {text}: {error}") from None


def _split_model(text: str) -> tuple[str, str]:
    """The name and the path in ``NAME=PATH``, or in ``PATH``."""
    name, equals, path = text.partition("=")
    if equals and NAME.fullmatch(name):
        if not path:
            raise usage.UsageError(f"--model {text}: must be PATH or NAME=PATH")
        return name, path
    return name_of(text if is_url(text) else os.path.abspath(text)), text


def _versions(text: str) -> tuple[str | None, Any]:
    name, equals, policy = text.rpartition("=")
    return parse_name(name) if equals else None, parse_versions(policy)


def _label(text: str) -> tuple[str | None, str, int]:
    place, _, number = text.rpartition("=")
    name, colon, label = place.rpartition(":")
    model = parse_name(name) if colon else None
    return model, parse_name(label), parse_version(number)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise ValueError("must be a number of at least 0")
    return seconds
