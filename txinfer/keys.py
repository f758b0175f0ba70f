"""API keys: which clients are known, and what they are called.

A key file has one key a line, in one of these forms; blank lines and those that
begin with ``#`` say nothing:

    KEY
    NAME:KEY
    NAME:sha256:DIGEST      of a key that is not written down, in 64 hex digits
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from hashlib import blake2b, sha256
from hmac import compare_digest

import attrs

# What fits into a header without quoting, as RFC 6750 has it for bearer tokens.
KEY = re.compile(r"[A-Za-z0-9._~+/=-]+")
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
DIGEST = re.compile(r"[0-9a-fA-F]{64}")

# Characters. What is shorter can be guessed by asking.
SHORTEST = 16

# A key without a name is called by so many hex digits of its digest.
SHOWN = 8


def _keyed() -> bytes:
    return secrets.token_bytes(32)


@attrs.frozen
class ApiKeys:
    """The keys that are known.

    They are compared as digests under a secret of this object's own, so that how
    long a look-up takes says nothing of any key.

    Args:
        names: the name of each key, by the SHA-256 digest of the key.
    """

    names: Mapping[bytes, str] = attrs.field(repr=False)
    _secret: bytes = attrs.field(factory=_keyed, init=False, repr=False)
    _known: dict[bytes, tuple[bytes, str]] = attrs.field(init=False, repr=False)

    @_known.default
    def _by_keyed_digest(self) -> dict[bytes, tuple[bytes, str]]:
        return {self._tag(d): (d, name) for d, name in self.names.items()}

    def name(self, key: bytes) -> str | None:
        """The name of a key that a client has sent; None if it is not known."""
        digest = sha256(key).digest()
        known, name = self._known.get(self._tag(digest), (b"", ""))
        return name if compare_digest(known, digest) else None

    def _tag(self, digest: bytes) -> bytes:
        return blake2b(digest, key=self._secret, digest_size=16).digest()


def parse_keys(text: str) -> ApiKeys:
    """The keys of a key file.

    Raises:
        ValueError: a line is in none of the forms, a key or a name is there
            twice, or there is no key; the text names the line, not the key.
    """
    names: dict[bytes, str] = {}
    for number, digest, name in _lines(text):
        if digest in names:
            raise ValueError(f"line {number}: the key is there already")
        if name in names.values():
            raise ValueError(f"line {number}: the name {name} is taken")
        names[digest] = name
    if not names:
        raise ValueError("it has no key")
    return ApiKeys(names)


def _lines(text: str) -> Iterator[tuple[int, bytes, str]]:
    """The number of each line with a key, the key's digest and its name."""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            try:
                digest, name = _read(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            yield number, digest, name


def _read(line: str) -> tuple[bytes, str]:
    name, colon, key = line.rpartition(":")
    if name.endswith(":sha256"):
        if not DIGEST.fullmatch(key):
            raise ValueError("a SHA-256 digest has 64 hex digits")
        name, digest = name.removesuffix(":sha256"), bytes.fromhex(key)
    elif len(key) < SHORTEST or not KEY.fullmatch(key):
        raise ValueError(
            f"a key has at least {SHORTEST} letters, digits or ._~+/=- and no others"
        )
    else:
        digest = sha256(key.encode()).digest()
    if not colon:
        return digest, f"key-{digest.hex()[:SHOWN]}"
    if not NAME.fullmatch(name):
        raise ValueError("a name has 1 to 64 letters, digits or ._- and no others")
    return digest, name
