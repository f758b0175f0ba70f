"""Who is trusted over HTTPS: the platform's certificate authorities, read once.

Twisted has OpenSSL read them for each host anew, which takes the reactor some ten
milliseconds; whoever names a hundred hosts would stop it for a second. Adding
those that are read already takes a tenth of a millisecond.
"""

from __future__ import annotations

import os
import ssl
from functools import cached_property
from typing import Any

from cryptography.x509 import load_pem_x509_certificates
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer


@implementer(IPolicyForHTTPS)
class PlatformPolicy:
    """Trusts whom the platform trusts, as of the first time that it is asked."""

    def creatorForNetloc(
        self, hostname: bytes, port: int
    ) -> IOpenSSLClientConnectionCreator:
        """See :class:`~twisted.web.iweb.IPolicyForHTTPS`."""
        creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(
            hostname.decode("ascii"), trustRoot=self._roots
        )
        return creator

    @cached_property
    def _roots(self) -> Any:
        return _bundle() or platformTrust()


def _bundle() -> Any:
    """The roots in the platform's bundle, or None if they are kept otherwise."""
    # OpenSSL looks certificates up in a directory one by one.
    file = None if "SSL_CERT_DIR" in os.environ else _bundle_file()
    if file is None:
        return None
    try:
        with open(file, "rb") as bundle:
            certificates = load_pem_x509_certificates(bundle.read())
    except (OSError, ValueError):
        return None
    roots = [Certificate(X509.from_cryptography(each)) for each in certificates]
    return trustRootFromCertificates(roots)


def _bundle_file() -> str | None:
    """``SSL_CERT_FILE``, or OpenSSL's own place for it, if it is there."""
    return ssl.get_default_verify_paths().cafile
