"""What a model's path says of where it is: a folder here, an archive, a store."""

from __future__ import annotations

import re
from importlib.util import find_spec
from urllib.parse import urlsplit, urlunsplit

import attrs

from .specs import ARCHIVES, ModelSpec, check_spec

#: The largest model that is fetched: larger ones are rather a mistake.
MODEL_SIZE = 16 * 1024**3

SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.I)

WEB = ("http", "https")

CHECKSUM = re.compile(r"sha256=([0-9a-f]{64})", re.I)


@attrs.frozen
class Url:
    """The path of a model that is not on this machine.

    ``address`` is without the fragment, in which the checksum is: ``sha256``, in
    lower case, or None. ``shown`` leaves out what may be secret.
    """

    address: str
    scheme: str
    sha256: str | None

    @property
    def is_archive(self) -> bool:
        """Whether it is one file: all are that come from web servers."""
        return self.scheme in WEB or urlsplit(self.address).path.endswith(ARCHIVES)

    @property
    def shown(self) -> str:
        """The URL for people to see, without credentials and signatures."""
        return shown(self.address)


def parse_url(path: str) -> Url | None:
    """The path of a model as a URL; None if it is a path on this machine.

    Raises:
        ValueError: it is a URL that nothing can be fetched from.
    """
    scheme = SCHEME.match(path)
    if scheme is None:
        return None
    address, _, fragment = path.partition("#")
    checksum = CHECKSUM.fullmatch(fragment)
    if fragment and checksum is None:
        raise ValueError("after the # must be sha256= and 64 hexadecimal digits")
    sha256 = None if checksum is None else checksum[1].lower()
    url = Url(address, scheme[1].lower(), sha256)
    if sha256 is not None and not url.is_archive:
        raise ValueError("only an archive has a checksum")
    parts = urlsplit(address)
    if url.scheme in WEB and (not parts.hostname or "@" in parts.netloc):
        raise ValueError("must have a host, and no user or password")
    if url.scheme in WEB and not address.isascii():
        raise ValueError("must be written in ASCII, with % for other characters")
    return url


def is_url(path: str) -> bool:
    """Whether the path of a model is a URL."""
    return SCHEME.match(path) is not None


def shown(path: str) -> str:
    """A path for people to see; of a URL what may be secret is left out."""
    if not is_url(path):
        return path
    parts = urlsplit(path)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def check_model(spec: ModelSpec) -> None:
    """Find out what can be known of a model before it is fetched or loaded.

    Raises:
        InvalidModel: it cannot be served.
        ValueError: its URL makes no sense, or needs what is not installed.
    """
    url = parse_url(spec.path)
    if url is None:
        check_spec(spec)
    elif url.scheme not in WEB:
        _check_installed(url.scheme)


def _check_installed(scheme: str) -> None:
    if find_spec("fsspec") is None:
        raise ValueError("needs: pip install 'txinfer[remote]'")
    from fsspec.registry import known_implementations, registry

    if scheme in registry:
        return
    known = known_implementations.get(scheme)
    if known is None:
        raise ValueError(f"nothing can read {scheme}://")
    if find_spec(known["class"].split(".")[0]) is None:
        raise ValueError(f"needs more: {known.get('err', scheme)}")
