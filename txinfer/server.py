"""A service that listens: the model, its site and its ports, in order.

:class:`twisted.application.service.MultiService` stops its children in no
order, but draining has one: first the ports, then the connections, then the
model.
"""

from __future__ import annotations

import atexit
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from .accesslog import AccessLog
from .admin import BODY_SIZE
from .describe import lines
from .errors import InvalidModel
from .limits import DoorLimits
from .metrics import Door
from .places import shown
from .protocols.addressed import SEGMENT
from .readers import gather
from .rehearsal import rehearse
from .service import InferenceService
from .site import BoundedSite
from .sockets import BACKLOG, pause, prepare, raise_file_limit, resume, shortage

DEFAULT_DOOR = DoorLimits()


class CannotListen(SystemExit, Exception):
    """Nobody can listen there: the process ends with status 1 and this one line.

    A daemonising twistd takes care of an ``Exception`` only: it removes the pid
    file and tells the process that waits at the terminal. After a mere
    ``SystemExit`` that one would wait for ever.
    """


class Server(Service):
    """Serves an :class:`InferenceService` at endpoints until it is stopped.

    If the model cannot be loaded the reactor is stopped, and the process ends
    with status 1.

    Args:
        inference: what is served.
        endpoints: Twisted endpoint descriptions.
        reactor: the global one.
        door: what the HTTP channel takes.
        access_log: takes note of each request; None for nobody.
        at_exit: has a function called when the process ends.
        admin: where models are managed, a Twisted endpoint description; None for
            nowhere.
        early: connections are accepted before the models are loaded; else they
            wait until then in the queues of the ports.
    """

    log = Logger()

    def __init__(
        self,
        inference: InferenceService,
        endpoints: Sequence[str],
        reactor: Any,
        door: DoorLimits = DEFAULT_DOOR,
        access_log: AccessLog | None = None,
        at_exit: Callable[[Callable[[], None]], object] = atexit.register,
        admin: str | None = None,
        early: bool = True,
    ) -> None:
        self.inference = inference
        self._endpoints = endpoints
        self._reactor = reactor
        self._at_exit = at_exit
        self._access_log = access_log
        self._ports: list[IListeningPort] = []
        self._places: list[str] = []
        self._admin = admin
        self._early = early
        self._admin_site = BoundedSite(
            inference.admin(), body_limit=BODY_SIZE, reactor=reactor
        )
        self._site = BoundedSite(
            inference.resource(),
            door,
            inference.limits.request_size,
            reactor=reactor,
        )
        inference.held.add(self._held)
        site = self._site
        told = inference.operations.metrics
        told.door = Door(lambda: len(site.channels), lambda: site.held - site.unsent)
        told.in_flight += (site.in_flight, self._admin_site.in_flight)
        if access_log is not None:
            site.on_answer = access_log.answered
            site.on_refusal = access_log.refused

    def privilegedStartService(self) -> None:
        """Listen, while the process may still have the right to low ports.

        Raises:
            CannotListen: a port cannot be listened at; the text is one line.
        """
        self._make_room()
        try:
            for description in self._endpoints:
                self._keep(self._listen("port", description, self._site), description)
            if self._admin is not None:
                port = self._listen("admin_port", self._admin, self._admin_site)
                self._ports.append(port)
                at = place(port.getHost(), secure=False)
                self.log.info("Models are managed at {at}", at=at)
        except BaseException:
            for port in self._ports:
                port.stopListening()
            raise

    def startService(self) -> None:
        """Begin to load the model; until it is there, calls are answered 503."""
        super().startService()
        if self._access_log is not None:
            self._access_log.start()
        self.inference.startService()
        self.inference.announce_start()
        ready = self.inference.when_ready().addCallback(self._rehearse)
        ready.addCallbacks(self._tell_ready, self._give_up)

    def stopService(self) -> Deferred[None]:
        """Close the ports, answer what is under way, free the model."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.log.info("Draining")
        self.inference.announce_stop()
        ports, self._ports, self._places = self._ports, [], []
        for port in ports:
            _accept_waiting(port)
            await _ensure_deferred(port.stopListening())
        await self._site.drain()
        self._site.quota.close()
        await self.inference.stopService()
        # Its requests end with what they wait for.
        await self._admin_site.drain()
        self._admin_site.quota.close()
        if self.inference.hangs:
            self.log.critical("Runs hang; the process ends without them")
            self._at_exit(_exit)
        if self._access_log is not None:
            await self._access_log.close()

    def _held(self) -> tuple[int, int]:
        """What the door holds: no rows, but bodies, and answers that are not sent."""
        return 0, self._site.held

    def _listen(
        self, option: str, description: str, site: BoundedSite
    ) -> IListeningPort:
        failures: list[Failure] = []
        ports: list[IListeningPort] = []
        # Parsing it may read files, which twistd's --rundir may have moved away.
        maybeDeferred(serverFromString, self._reactor, description).addCallback(
            lambda endpoint: endpoint.listen(site)
        ).addCallbacks(ports.append, failures.append)
        for failure in failures:
            # A port number of more than 16 bits overflows.
            if not failure.check(CannotListenError, OSError, OverflowError):
                failure.raiseException()
            raise CannotListen(
                f"txinfer: --{option} {description}: {failure.getErrorMessage()}"
            )
        return ports[0]

    def _make_room(self) -> None:
        """Be able to have as many connections as are to be taken, or say so."""
        short = shortage(self._site.limits.connections, raise_file_limit())
        if short is not None:
            self.log.warn("{why}", why=short)

    def _keep(self, port: IListeningPort, description: str) -> None:
        self._ports.append(port)
        prepare(port)
        gather(port, self._reactor, self.inference.run_waits)
        if not self._early:
            pause(port)
        secure = description.split(":")[0] in ("ssl", "tls")
        self._places.append(place(port.getHost(), secure))

    def _rehearse(self, _: None) -> Deferred[None]:
        inference = self.inference
        names = inference.models if self.running else ()
        models = [(name, inference.model(name).methods()) for name in names]
        return Deferred.fromCoroutine(
            rehearse(
                inference.rehearsal(),
                models,
                inference.batch_transpose,
                inference.limits.request_size,
                self._reactor,
            )
        )

    def _tell_ready(self, _: None) -> None:
        if not self.running:
            return
        self.inference.announce_ready()
        if not self._early:
            for port in self._ports:
                resume(port)
        models = self.inference.models
        paths = ", ".join(shown(spec.path) for spec in models.values())
        for at in self._places:
            self.log.info("Serving {paths} at {at}", paths=paths, at=at)
        curl = f"curl {self._places[0] if self._places else 'http://localhost/'}"
        first, *others = models
        self._tell_methods(first, curl)
        for name in others:
            self.log.info("Model {name}", name=name)
            self._tell_methods(name, f"{curl}{SEGMENT}/{name}/")

    def _tell_methods(self, model: str, curl: str) -> None:
        inference = self.inference
        methods = inference.model(model).methods()
        rows = inference.policy.largest
        for line in lines(methods, rows, curl, inference.batch_transpose):
            self.log.info("{line}", line=line)

    def _give_up(self, failure: Failure) -> None:
        if failure.check(InvalidModel):
            self.log.critical("{why}", why=failure.getErrorMessage())
        else:
            self.log.failure("The model could not be loaded", failure)
        if self.running:
            self._at_exit(_exit_with_failure)
            self._reactor.stop()


def place(address: IAddress, secure: bool) -> str:
    """Where a port can be reached from this machine, as a shell hands it to curl."""
    scheme = "https" if secure else "http"
    if isinstance(address, UNIXAddress):
        name = os.path.abspath(os.fsdecode(address.name or b""))
        return f"--unix-socket {shlex.quote(name)} http://localhost/"
    assert isinstance(address, (IPv4Address, IPv6Address))
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address.host, address.host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    # Brackets mean something to some shells.
    return shlex.quote(f"{scheme}://{host}:{address.port}/")


def _accept_waiting(port: IListeningPort) -> None:
    """Accept the connections that the kernel has made already.

    Their clients may have sent requests, and closing the port resets them.
    """
    waiting: Any = port
    accept = getattr(port, "doRead", None)
    if accept is not None:
        # By itself it would accept no more than it did the last time.
        waiting.numberAccepts = BACKLOG
        accept()


def _exit_with_failure() -> None:
    """Leave with status 1: ``reactor.stop`` knows no exit status, nor does twistd."""
    _exit(1)


def _exit(status: int = 0) -> None:
    """Leave at once: TensorFlow's own clean-up waits for what hangs in it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def _ensure_deferred(result: Deferred[None] | None) -> None:
    if result is not None:
        await result
