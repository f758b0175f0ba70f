"""A configuration file: the command line's options in TOML, and models in tables.

    port = ["8080", "unix:/run/model.sock"]
    batch_size = 64
    no_cors = true

    [models.digits]
    path = "/srv/models/digits"
    versions = "latest:2"
    labels = {stable = 3}

An option that may be given more than once takes a list.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from .specs import (
    ModelSpec,
    VersionPolicy,
    parse_name,
    parse_tags,
    parse_version,
    parse_versions,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

TABLE = "models"


class InvalidConfig(ValueError):
    """A file that says nothing that makes sense; the text names what, in one line."""


@attrs.frozen
class Config:
    """What a file says.

    ``texts`` has the values of each option as they would stand on the command
    line, an empty text for a flag that is on; ``models`` what the tables say.
    """

    path: str
    texts: Mapping[str, list[str]]
    models: Mapping[str, ModelSpec]


def read(path: str, known: Callable[[str], str | None], flags: set[str]) -> Config:
    """Read a configuration file.

    Args:
        path: of the file.
        known: the option of a key, or None if there is no such option.
        flags: the options that take no value.

    Raises:
        InvalidConfig: the file cannot be read, or a key or value is wrong.
    """
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise InvalidConfig(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        # Not TOML, or not UTF-8.
        raise InvalidConfig(f"{path}: {error}") from None
    try:
        models = _named(TABLE, _models, content.pop(TABLE, {}))
        return Config(path, _options(content, known, flags), models)
    except InvalidConfig as error:
        raise InvalidConfig(f"{path}: {error}") from None


def _options(
    content: Mapping[str, object], known: Callable[[str], str | None], flags: set[str]
) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for key, value in content.items():
        option = known(key)
        if option is None:
            raise InvalidConfig(f"{key}: there is no such option")
        if option in texts:
            raise InvalidConfig(f"{key}: this option is there twice")
        texts[option] = _named(key, _flag if option in flags else _texts, value)
    return texts


def _shown(value: object) -> str:
    """A value in one short line."""
    text = repr(value)
    return text if len(text) <= 64 else text[:63] + "…"


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [_text(item) for item in values]


def _text(value: object) -> str:
    """A string or a number as it would stand on the command line."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    raise ValueError("must be a string or a number, or a list of them")


def _flag(value: object) -> list[str]:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return [""] if value else []


def _models(value: object) -> dict[str, ModelSpec]:
    models = {}
    for name, table in _table(value).items():
        parsed = _named(name, parse_name, name)
        models[parsed] = _named(name, parse_model, table)
    return models


def parse_model(value: object) -> ModelSpec:
    """A model from its table: InvalidConfig, or ValueError, if it is none."""
    table = _table(value)
    for key in table:
        if key not in MODEL_KEYS:
            known = ", ".join(MODEL_KEYS)
            raise InvalidConfig(f"{key}: no such key; known: {known}")
    if "path" not in table:
        raise InvalidConfig("path: is missing")
    values = {key: _named(key, MODEL_KEYS[key], it) for key, it in table.items()}
    sha256 = values.pop("sha256", None)
    if sha256 is not None:
        values["path"] += f"#sha256={sha256}"
    return ModelSpec(**values)


def _named(key: str, rule: Callable[[Any], T], value: object) -> T:
    """What a rule makes of a value; the error begins with the key."""
    try:
        return rule(value)
    except InvalidConfig as error:
        raise InvalidConfig(f"{key}.{error}") from None
    except ValueError as error:
        raise InvalidConfig(f"{key} = {_shown(value)}: {error}") from None


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be a table")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string")
    return value


def _tags(value: object) -> tuple[str, ...]:
    return parse_tags(",".join(_texts(value)))


def _versions(value: object) -> VersionPolicy:
    return parse_versions(",".join(_texts(value)))


def _labels(value: object) -> dict[str, int]:
    labels = {}
    for label, number in _table(value).items():
        name = _named(label, parse_name, label)
        labels[name] = _named(label, parse_version, str(number))
    return labels


# What a model's table may say: the arguments of a ModelSpec, and a checksum.
MODEL_KEYS: dict[str, Callable[[Any], Any]] = {
    "path": _string,
    "tags": _tags,
    "versions": _versions,
    "labels": _labels,
    "sha256": _string,
}
