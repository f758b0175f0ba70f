"""Options of a command line that may also stand in a file."""

from __future__ import annotations

import getopt
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from twisted.python import usage

from .specs import ModelSpec

# What only a command line says.
NOT_IN_FILES = frozenset(("config", "help", "version"))


class ConfigOptions(usage.Options):
    """Options to be extended by others; those of ``--config`` come before theirs.

    ``tables`` holds the models of the file, once it is read.
    """

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "config",
            "c",
            None,
            "A TOML file of options; those on the command line override it.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.tables: Mapping[str, ModelSpec] = {}
        self._line: Sequence[str] = ()
        self._from_file: set[str] = set()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse; SystemExit with one line if anything is wrong."""
        if options is not None:
            options = [self._as_known(option) for option in options]
        self._line = options or ()
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            why = self._blame(" ".join(str(error).splitlines()))
            raise SystemExit(f"txinfer: {why}") from None

    def postOptions(self) -> None:
        """Take from the file what the command line does not say."""
        if self["config"] is None:
            return
        from .config import InvalidConfig, read

        flags = {name for name in self._dispatch if f"{name}=" not in self.longOpt}
        try:
            config = read(self["config"], self._option, flags)
        except InvalidConfig as error:
            raise usage.UsageError(f"--config {error}") from None
        given = self._given()
        for name, texts in config.texts.items():
            if name not in given:
                self._from_file.add(name.replace("-", "_"))
                for text in texts:
                    self._take(name, text)
        if "model" not in given:
            self.tables = config.models

    def _take(self, name: str, text: str) -> None:
        """Do what an option does."""
        dispatch = self._dispatch[name]
        getattr(dispatch, "dispatch", dispatch)(name, text)

    def _option(self, key: str) -> str | None:
        """The option that a key means, spelt as Twisted has it."""
        for name in self._dispatch.keys() - NOT_IN_FILES:
            if len(name) > 1 and name.replace("-", "_") == key.replace("-", "_"):
                return str(name)
        return None

    def _given(self) -> set[str]:
        """The options that the command line has."""
        pairs, _ = getopt.getopt(list(self._line), self.shortOpt, self.longOpt)
        names = [option.lstrip("-") for option, _ in pairs]
        return {self.synonyms.get(it, it.replace("-", "_")) for it in names}

    def _blame(self, why: str) -> str:
        """What is wrong, and that the file says it if it does."""
        for name in self._from_file:
            if why.startswith(f"--{name} "):
                return f"--config {self['config']}: {why.removeprefix('--')}"
        return why

    def _as_known(self, option: str) -> str:
        """An option with its name spelt as Twisted has it."""
        name, equals, value = option.partition("=")
        for known in self.longOpt:
            known = "--" + known.rstrip("=")
            if known.replace("-", "_") == name.replace("-", "_"):
                return f"{known}{equals}{value}"
        return option
