"""The source of a model's versions, by what its path says."""

from __future__ import annotations

from functools import partial
from typing import Any

from .interfaces import IThreads
from .places import WEB, parse_url
from .sources import Folder, ISource, LoadFolder, OneModel
from .specs import ModelSpec
from .transfer import Transfer


def source_of(
    spec: ModelSpec, load: LoadFolder, threads: IThreads, reactor: Any, most: int
) -> ISource:
    """Where the versions of a model come from.

    Args:
        spec: the model.
        load: loads the folder of a version.
        threads: where to wait for disks and stores.
        reactor: the reactor.
        most: the most bytes that are fetched.

    Raises:
        ValueError: its URL makes no sense.
    """
    tags = spec.tags or ()
    if spec.load is not None:
        return OneModel(spec.path, spec.load)
    url = parse_url(spec.path)
    if url is None:
        return Folder(spec.path, tags, load, threads)
    from . import buckets
    from .download import download, new_agent
    from .remote import Archive

    if not url.is_archive:
        return buckets.Bucket(url.address, tags, load, threads, most)
    if url.scheme in WEB:
        bring = partial(download, new_agent(reactor), reactor, url.address)
    else:
        bring = partial(buckets.bring, threads, url.address)
    return Archive(
        url.shown, url.sha256, bring, tags, load, threads, reactor, Transfer(most)
    )
