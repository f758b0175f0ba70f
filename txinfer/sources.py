"""Where the versions of a model come from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from functools import partial

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import Attribute, Interface, implementer

from . import layout
from .interfaces import IModel, IThreads
from .tune import DEFAULT_SESSION, SessionPolicy

# Loads the SavedModel in a folder that has these tags; blocks, in a thread.
LoadFolder = Callable[[str, Sequence[str]], IModel]

# What says that somebody is still writing: TensorFlow's saver merges its files
# from there (``saved_model/save.py``, ``tensor_bundle.cc``), rsync names its so
# until they are whole, and gsutil does much the same.
PARTIAL = re.compile(r"variables_temp|.*\.tempstate\d*|\..+\.\w{6}|.*_\.gstmp")

# A checkpoint's data, of which all parts have to be there.
SHARD = re.compile(r"variables\.data-\d{5}-of-(\d{5})")


def load_saved_model(
    path: str, tags: Sequence[str], policy: SessionPolicy = DEFAULT_SESSION
) -> IModel:
    """Load by TensorFlow, which is imported here and no earlier: twistd forks."""
    from .savedmodel import load

    return load(path, tags, policy)


@attrs.frozen
class Found:
    """A version that is to be had.

    ``place`` is for the log. ``mark`` changes when the files do. ``unfinished``
    says in words why it must not be loaded yet; it is None if it may. ``load``
    blocks, in a thread, and raises :class:`~txinfer.errors.InvalidModel`;
    ``progress`` says how far it is. ``discard`` removes what loading has left
    behind, once the model is closed or could not be loaded; it blocks too.
    ``folder`` is where the model's files are while it is loaded, if it has any.
    """

    place: str
    mark: Hashable
    load: Callable[[], IModel]
    unfinished: str | None = None
    progress: Callable[[], str] | None = None
    discard: Callable[[], None] | None = None
    folder: Callable[[], str | None] = lambda: None


class ISource(Interface):
    """Where the versions of one model are. Reactor thread only."""

    least_poll: float = Attribute("Seconds that have to be between two looks.")

    def numbers() -> Deferred[Collection[int]]:
        """The versions that are there now.

        Returns:
            A Deferred that fails with :class:`~txinfer.errors.InvalidModel` if
            there are none, or it cannot be known.
        """

    def inspect(number: int) -> Deferred[Found]:
        """Look at one of the versions that :meth:`numbers` gave last."""

    def refresh() -> Deferred[None]:
        """Forget what was fetched before: it may be another now."""

    def stop() -> None:
        """Stop what is under way; nothing is asked any more."""

    def clear() -> Deferred[None]:
        """Remove what is left on this machine, once all versions are closed."""


class Stays:
    """The half of a source that has nothing to fetch, to stop or to remove."""

    least_poll = 0.0

    def refresh(self) -> Deferred[None]:
        """See :class:`ISource`."""
        return succeed(None)

    def stop(self) -> None:
        """See :class:`ISource`."""

    def clear(self) -> Deferred[None]:
        """See :class:`ISource`."""
        return succeed(None)


@implementer(ISource)
@attrs.define(eq=False, slots=False)
class OneModel(Stays):
    """A model that somebody else makes, as version 1."""

    place: str
    _load: Callable[[], IModel]

    def numbers(self) -> Deferred[Collection[int]]:
        """See :class:`ISource`."""
        return succeed([layout.ONLY])

    def inspect(self, number: int) -> Deferred[Found]:
        """See :class:`ISource`."""
        return succeed(Found(self.place, None, self._load))


@implementer(ISource)
class VersionFolders(Stays):
    """A source whose versions are folders somewhere.

    Args:
        threads: where to wait for them.
        search: finds the folders by their numbers; blocks.
        look: looks at one of them; blocks.
    """

    def __init__(
        self,
        threads: IThreads,
        search: Callable[[], dict[int, str]],
        look: Callable[[str], Found],
    ) -> None:
        self._threads = threads
        self._search = search
        self._look = look
        self._folders: dict[int, str] = {}

    def numbers(self) -> Deferred[Collection[int]]:
        """See :class:`ISource`."""
        return self._threads.run(self._search).addCallback(self._remember)

    def inspect(self, number: int) -> Deferred[Found]:
        """See :class:`ISource`."""
        return self._threads.run(self._look, self._folders[number])

    def _remember(self, folders: dict[int, str]) -> Collection[int]:
        self._folders = folders
        return folders.keys()


class Folder(VersionFolders):
    """A SavedModel folder, or a folder of version folders, on this machine.

    Args:
        path: the folder.
        tags: the tags of the graph to load.
        load: loads one version.
        threads: where to wait for the disk.
    """

    def __init__(
        self, path: str, tags: Sequence[str], load: LoadFolder, threads: IThreads
    ) -> None:
        super().__init__(threads, partial(layout.versions, path), self._inspect)
        self._tags = tags
        self._load = load

    def _inspect(self, folder: str) -> Found:
        files = sorted(_files(folder))

        def load() -> IModel:
            return self._load(folder, self._tags)

        unfinished = why_unfinished(name for name, *_ in files)
        return Found(folder, tuple(files), load, unfinished, folder=lambda: folder)


def why_unfinished(files: Iterator[str] | Sequence[str]) -> str | None:
    """What shows that files of a SavedModel are still being copied; None if nothing.

    Args:
        files: their paths, relative to its folder.
    """
    names = [part for path in files for part in path.split(os.sep)]
    if not any(name in layout.FILES for name in names):
        return "it has no saved_model.pb yet"
    for name in names:
        if PARTIAL.fullmatch(name):
            return f"'{name}' is being written"
    return _missing_part({*names})


def _missing_part(names: set[str]) -> str | None:
    shards = [found for name in names if (found := SHARD.fullmatch(name))]
    if shards and "variables.index" not in names:
        return "variables.index is missing"
    if not shards and "variables.index" in names:
        return "the variables' data are missing"
    wanted = {int(found[1]) for found in shards}
    if wanted and len(shards) < max(wanted):
        return f"{len(shards)} of {max(wanted)} parts of the variables are there"
    return None


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    """Relative path, size and time of change of each file; those that vanish are
    left out.

    Raises:
        InvalidModel: a folder may not be read.
    """
    for base, _, names in os.walk(folder, onerror=partial(_unreadable, folder)):
        for name in names:
            path = os.path.join(base, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            yield os.path.relpath(path, folder), status.st_size, status.st_mtime_ns


def _unreadable(folder: str, error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise layout.invalid(folder, f"it cannot be read: {error.strerror}") from error
