"""Twisted's thread pool, whose threads do not keep the process alive.

The reactor's own pool is joined at shutdown, and so is any ``ThreadPool``; but a
look-up that waits for a name server, or a kernel that hangs, cannot be stopped,
and must not keep a server from ending.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

from twisted.python.threadpool import ThreadPool


class DaemonThread(Thread):
    """A thread that does not keep the process alive."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(daemon=True, **settings)


class DaemonPool(ThreadPool):
    """A ``ThreadPool`` of such threads."""

    threadFactory: type[Thread] = DaemonThread

    def stop_later(self) -> None:
        """Let the threads end once they have nothing to do; does not wait for them."""
        # ThreadPool.stop waits for each thread, so it waits in one more.
        DaemonThread(target=self.stop, name=f"{self.name}-end").start()
