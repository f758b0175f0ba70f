"""What the system does with sockets before the reactor sees them."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IListeningPort

# Connections that the kernel has made and nobody has accepted. Twisted asks for 50;
# when that many come at once others time out and try again a second later. The
# kernel takes less if net.core.somaxconn says so.
BACKLOG = 4096

# Bytes that the kernel takes of an answer ahead of what it can send. By default it
# takes megabytes, for which each connection whose client does not read costs that
# much memory, and the copying costs the others their time. What is on its way is
# not bounded by this, so distant clients are served as fast as before.
UNSENT = 128 * 1024

# Open files that are not connections of clients: the model's, fetches, the log.
OTHER_FILES = 256


def prepare(port: IListeningPort) -> None:
    """Have a port keep many connections waiting, and little unsent for each.

    What the platform does not know is left as it is.
    """
    listener: Any = getattr(port, "socket", None)
    if listener is None:
        return
    with suppress(OSError):
        listener.listen(BACKLOG)
    # Accepted sockets inherit it.
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        with suppress(OSError):
            listener.setsockopt(socket.IPPROTO_TCP, option, UNSENT)


def pause(port: IListeningPort) -> None:
    """Leave new connections in a port's queue, which the kernel keeps.

    A port that is no descriptor of the reactor goes on to accept them.
    """
    stop: Any = getattr(port, "stopReading", None)
    if stop is not None:
        stop()


def resume(port: IListeningPort) -> None:
    """Accept what has come since :func:`pause`, and what comes."""
    start: Any = getattr(port, "startReading", None)
    if start is not None:
        start()


def raise_file_limit() -> int | None:
    """Let this process open as many files as it may.

    Returns:
        How many that is; None if the system does not say, or sets no limit.
    """
    try:
        import resource
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # On macOS a hard limit may be said to be infinite when it is not.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return None if soft == resource.RLIM_INFINITY else soft


def shortage(connections: int, files: int | None) -> str | None:
    """Why a process that may open so many files cannot have so many connections.

    Returns:
        None if it can.
    """
    needed = connections + OTHER_FILES
    if files is None or files >= needed:
        return None
    return (
        f"{connections} connections need some {needed} open files, and the system "
        f"allows {files}: raise its limit (ulimit -n, LimitNOFILE) or lower "
        "--connections"
    )
