"""txinfer: any TensorFlow SavedModel as a web service, batched across clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "BatchPolicy",
    "CallLimits",
    "ClientLimits",
    "FetchLimits",
    "FetchPolicy",
    "InferenceService",
    "ModelSpec",
    "QueueLimits",
    "SessionPolicy",
    "__version__",
]

if TYPE_CHECKING:
    from .fetch import FetchPolicy
    from .limits import CallLimits, ClientLimits, FetchLimits, QueueLimits
    from .policy import BatchPolicy
    from .service import InferenceService
    from .specs import ModelSpec
    from .tune import SessionPolicy

_HOMES = {
    "BatchPolicy": "policy",
    "CallLimits": "limits",
    "ClientLimits": "limits",
    "FetchLimits": "limits",
    "FetchPolicy": "fetch",
    "InferenceService": "service",
    "ModelSpec": "specs",
    "QueueLimits": "limits",
    "SessionPolicy": "tune",
}


def __getattr__(name: str) -> object:
    """Import the public names when they are asked for.

    Option parsing imports this package too, and must not wait for what only a
    running service needs (PEP 562).
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
