"""Who is trusted over HTTPS; what the certificates do is tried in test_fetch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.ssl import trustRootFromCertificates

from tests.test_fetch import self_signed
from txinfer.trust import PlatformPolicy

BUNDLED = type(trustRootFromCertificates([]))


def policy_with(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> PlatformPolicy:
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    return PlatformPolicy()


def test_the_platform_s_bundle_is_read_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    certificate = self_signed().original.to_cryptography()
    bundle.write_bytes(certificate.public_bytes(Encoding.PEM) * 2)
    policy = policy_with(monkeypatch, bundle)
    first = policy._roots
    assert isinstance(first, BUNDLED)
    os.remove(bundle)
    assert policy._roots is first
    assert policy.creatorForNetloc(b"a.example", 443) is not None


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_without_a_readable_bundle_openssl_looks_for_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    policy = policy_with(monkeypatch, bundle)
    assert not isinstance(policy._roots, BUNDLED)
    assert policy.creatorForNetloc(b"a.example", 443) is not None


def test_a_directory_is_left_to_openssl(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert not isinstance(PlatformPolicy()._roots, BUNDLED)
