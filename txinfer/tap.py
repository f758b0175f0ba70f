"""``twistd tfinfer``: options to an application's service.

TensorFlow is not imported here, nor anything else that ``--help`` can do
without.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs
from twisted.python import usage

from . import __version__, optvalues
from .limits import (
    CallLimits,
    ClientLimits,
    DoorLimits,
    FetchLimits,
    QueueLimits,
    RunLimits,
)
from .limits import options as limit_options
from .modelopts import ModelOptions, checked
from .proxies import parse_proxy

if TYPE_CHECKING:
    from .server import Server
    from .service import InferenceService
    from .sources import LoadFolder

T = TypeVar("T")

DEFAULT_PORT = "tcp:8080:interface=127.0.0.1"


class Options(ModelOptions):
    """The command line; every value is checked before anything listens.

    ``-`` and ``_`` are interchangeable in option names. A bad option ends the
    process with status 1 and one line that names it, its value and the rule.
    """

    synopsis = "--model PATH [options]"
    longdesc = "Serve the signatures of TensorFlow SavedModels over HTTP, as JSON."

    optParameters: ClassVar = [
        [
            "admin_port",
            None,
            None,
            "Where models are managed, by everybody who can connect: a Twisted "
            "endpoint, or the number of a TCP port on 127.0.0.1.",
        ],
        [
            "batch_size",
            None,
            "0",
            "Largest batch, in rows; 0 is 32, and 128 where a run of them takes less "
            "than 4 ms.",
        ],
        [
            "pad_batches",
            None,
            None,
            "Sizes to which batches are filled up, as 1,2,4,8: the largest is the "
            "largest batch.",
        ],
        [
            "session_threads",
            None,
            "0",
            "Most runs at once, as far as they are measured to get through more; 0 is "
            "one for each processor, up to 8.",
        ],
        [
            "intra_threads",
            None,
            "0",
            "Threads of TensorFlow within an op, for each model; with 0 it is measured "
            "whether one for each processor or a single one is better.",
        ],
        [
            "inter_threads",
            None,
            "0",
            "Threads of TensorFlow for ops beside each other; with 0 it is measured "
            "whether to use any.",
        ],
        ["static_path", None, None, "A folder to serve under /web/."],
        [
            "access_log",
            None,
            None,
            "A file to add a line to for each request; - is standard output.",
        ],
        [
            "access_log_format",
            None,
            "json",
            "json for a JSON object a line, text for the form of Apache and nginx.",
        ],
        *limit_options(QueueLimits),
        *limit_options(RunLimits),
        *limit_options(DoorLimits),
        *limit_options(CallLimits),
        [
            "api_key_file",
            None,
            None,
            "A file of keys, KEY or NAME:KEY a line, of which callers must have one.",
        ],
        *limit_options(ClientLimits),
        *limit_options(FetchLimits),
    ]
    optFlags: ClassVar = [
        [
            "batch_transpose",
            None,
            "A JSON object is always one example, a list of objects several.",
        ],
        [
            "accept_when_ready",
            None,
            "Accept connections only once the models are loaded; those that come "
            "earlier wait.",
        ],
        ["no_cors", None, "Do not let scripts of other origins call."],
        ["no_metrics", None, "Do not answer /metrics and /stats."],
        ["no_url", None, "Take no URL inputs: nothing is ever fetched."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["port"] = []
        self["url_allow"] = []
        self["trusted_proxy"] = []

    def opt_port(self, description: str) -> None:  # noqa: D102
        self["port"].append(description)

    opt_port.__doc__ = (
        "Where to listen: a Twisted endpoint, or the number of a TCP port on "
        f"127.0.0.1. Repeatable. [default: {DEFAULT_PORT}]"
    )
    opt_p = opt_port

    def opt_url_allow(self, rule: str) -> None:  # noqa: D102
        self["url_allow"].append(rule)

    opt_url_allow.__doc__ = (
        "A host, address or range (CIDR) that URL inputs may be fetched from "
        "although it is not public. Repeatable."
    )

    def opt_trusted_proxy(self, rule: str) -> None:  # noqa: D102
        self["trusted_proxy"].append(rule)

    opt_trusted_proxy.__doc__ = (
        "An address or range (CIDR) of proxies, or unix for UNIX sockets, whose "
        "X-Forwarded-For says who asks. Repeatable."
    )

    def opt_version(self) -> None:
        """Show the version and exit."""
        print(f"txinfer {__version__}")
        raise SystemExit(0)

    def getSynopsis(self) -> str:
        """The first line of ``--help``: that of ``txinfer serve``, or of twistd."""
        if self.parent is None:
            return f"Usage: txinfer serve {self.synopsis}"
        text: str = super().getSynopsis()
        return text

    def getUsage(self, width: int | None = None) -> str:
        """The text of ``--help``, underscores in every name."""
        # Twisted spells the option of a method opt_a_b with a hyphen.
        text: str = super().getUsage(width)
        for name in ("url_allow", "trusted_proxy"):
            text = text.replace(name.replace("_", "-"), name)
        return text

    def parseArgs(self, *rest: str) -> None:
        """There are only options."""
        if rest:
            raise usage.UsageError(f"{rest[0]!r}: only options are taken")

    def postOptions(self) -> None:
        """Turn texts into values."""
        super().postOptions()
        self._convert("admin_port", optvalues.endpoint)
        self._convert("batch_size", optvalues.natural)
        self._convert("pad_batches", optvalues.sizes)
        self._convert("session_threads", optvalues.natural)
        self._convert("intra_threads", optvalues.natural)
        self._convert("inter_threads", optvalues.natural)
        self["queue"] = self._limits(QueueLimits)
        self["runs"] = self._limits(RunLimits)
        self["door"] = self._limits(DoorLimits)
        self["limits"] = self._limits(CallLimits)
        self["clients"] = self._limits(ClientLimits)
        self._convert("api_key_file", optvalues.api_keys)
        self["fetch"] = self._limits(FetchLimits)
        self._convert("static_path", optvalues.folder)
        self._convert("access_log", optvalues.log_file)
        self._convert("access_log_format", optvalues.log_form)
        self["port"] = [
            checked("port", text, optvalues.endpoint)
            for text in self["port"] or [DEFAULT_PORT]
        ]
        for rule in self["url_allow"]:
            checked("url_allow", rule, optvalues.allow_rule)
        for rule in self["trusted_proxy"]:
            checked("trusted_proxy", rule, parse_proxy)

    def _convert(self, name: str, rule: Callable[[str], object]) -> None:
        if self[name] is not None:
            self[name] = checked(name, self[name], rule)

    def _limits(self, kind: type[T]) -> T:
        """One class of limits, from the options that have its fields' names."""
        for field in attrs.fields(kind):  # type: ignore[arg-type]
            self._convert(field.name, optvalues.number_of(field))
        names = [field.name for field in attrs.fields(kind)]  # type: ignore[arg-type]
        return kind(**{name: self[name] for name in names})


def makeService(
    options: Options, reactor: Any = None, load_folder: LoadFolder | None = None
) -> Server:
    """The service that checked options ask for.

    Args:
        options: checked.
        reactor: the global one by default.
        load_folder: loads a version of a model, instead of TensorFlow.
    """
    if reactor is None:
        from twisted.internet import reactor
    from .accesslog import access_log
    from .memory import share_arenas
    from .server import Server

    share_arenas()
    inference = _inference(options, reactor, load_folder)
    path, form = options["access_log"], options["access_log_format"]
    log = None if path is None else access_log(path, form, reactor)
    return Server(
        inference,
        options["port"],
        reactor,
        options["door"],
        log,
        admin=options["admin_port"],
        early=not options["accept_when_ready"],
    )


def _inference(
    options: Options, reactor: Any, load_folder: LoadFolder | None
) -> InferenceService:
    from .exposition import process_registry
    from .fetch import FetchPolicy
    from .policy import sized
    from .processors import runs_at_once
    from .quiet import load_quietly
    from .service import InferenceService
    from .tune import SessionPolicy

    at_once = options["session_threads"] or runs_at_once()
    session = SessionPolicy(
        options["intra_threads"],
        options["inter_threads"],
        clock=reactor.seconds,
        at_once=at_once,
    )
    fetch = FetchPolicy(options["url_allow"], options["fetch"])
    return InferenceService(
        models=options["models"],
        tags=options["tags"],
        poll_seconds=options["poll_seconds"],
        model_size=options["model_size"],
        policy=sized(
            options["batch_size"], queue=options["queue"], runs=options["runs"]
        ),
        pad_batches=options["pad_batches"] or (),
        threads=at_once,
        fetch=None if options["no_url"] else fetch,
        static_path=options["static_path"],
        batch_transpose=bool(options["batch_transpose"]),
        cors=not options["no_cors"],
        limits=options["limits"],
        clients=options["clients"],
        api_keys=options["api_key_file"],
        proxies=options["trusted_proxy"],
        load_folder=load_folder or partial(load_quietly, policy=session),
        registry=process_registry(),
        metrics=not options["no_metrics"],
        reactor=reactor,
    )
