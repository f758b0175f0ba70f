"""Paths at the root that mean something else than a method."""

from __future__ import annotations

import attrs

from .operations import FIGURES, HEALTH
from .protocols.addressed import SEGMENT

STATIC_SEGMENT = b"web"


@attrs.frozen
class Paths:
    """What the first segments of paths mean.

    Args:
        metrics: whether metrics and statistics are shown.
        static: whether there is a folder of static files.
    """

    metrics: bool
    static: bool

    def anybodys(self) -> frozenset[bytes]:
        """The segments that nobody needs a key for."""
        return HEALTH | {STATIC_SEGMENT} if self.static else HEALTH

    def private(self) -> frozenset[bytes]:
        """The segments that pages of other origins have no business with."""
        return FIGURES if self.metrics else frozenset()

    def hiding(self, name: str) -> str | None:
        """What keeps a method from being called at the root, in words; if anything."""
        segment = name.split("/")[0].encode()
        if segment in HEALTH or (self.metrics and segment in FIGURES):
            return "An operator's path"
        if segment == SEGMENT.encode():
            return "The list of models"
        if self.static and segment == STATIC_SEGMENT:
            return "The folder of static files"
        return None
