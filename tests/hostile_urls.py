"""Hostile URLs and servers, as data: what a fetch must stand.

``{p}`` is the port of a listener at every address of this machine, none of which
may be connected to. ``{q}`` is the port of one at 127.0.0.3 that may be: whoever
takes a URL apart in another way than the fetcher would go to the other of the two.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

# Ways to write 127.0.0.2 or another address of this machine, or to come near it.
SPELLINGS: Mapping[str, str] = {
    "plain": "http://127.0.0.2:{p}/",
    "upper case scheme": "HTTP://127.0.0.2:{p}/",
    "https": "https://127.0.0.2:{p}/",
    # Numbers, as inet_aton reads them
    "two parts": "http://127.2:{p}/",
    "three parts": "http://127.0.2:{p}/",
    "one number": "http://2130706434:{p}/",
    "one number past 32 bits": "http://6425673730:{p}/",
    "hexadecimal": "http://0x7f000002:{p}/",
    "upper case hexadecimal": "http://0X7F000002:{p}/",
    "hexadecimal parts": "http://0x7f.0x0.0x0.0x2:{p}/",
    "hexadecimal and short": "http://0x7f.2:{p}/",
    "hexadecimal with zeros": "http://0x000000007f000002:{p}/",
    "octal": "http://017700000002:{p}/",
    "octal parts": "http://0177.0.0.02:{p}/",
    "octal with zeros": "http://0000000177.0.0.2:{p}/",
    "three bases": "http://0177.0x0.2:{p}/",
    "leading zeros": "http://127.000.000.002:{p}/",
    "a part past 8 bits": "http://127.0.0.258:{p}/",
    "five parts": "http://127.0.0.0.2:{p}/",
    "negative": "http://-2130706430:{p}/",
    "final dot": "http://127.0.0.2.:{p}/",
    "short with final dot": "http://127.2.:{p}/",
    "two final dots": "http://127.0.0.2..:{p}/",
    "empty part": "http://127..0.2:{p}/",
    # Other addresses of this machine
    "zero": "http://0:{p}/",
    "zeros": "http://00000000:{p}/",
    "all zero": "http://0.0.0.0:{p}/",
    "hexadecimal zero": "http://0x0:{p}/",
    "broadcast": "http://255.255.255.255:{p}/",
    "last loopback": "http://127.255.255.254:{p}/",
    "localhost": "http://localhost:{p}/",
    "mixed case localhost": "http://LocalHost:{p}/",
    "localhost with final dot": "http://localhost.:{p}/",
    "this machine": "http://{hostname}:{p}/",
    "metadata service": "http://169.254.169.254/latest/meta-data/",
    "metadata service as a number": "http://2852039166/latest/meta-data/",
    # Other scripts and signs, which IDNA maps to digits, dots and letters
    "full-width digits": "http://１２７.0.0.２:{p}/",
    "circled digits": "http://①②⑦.⓪.⓪.②:{p}/",
    "superscript digits": "http://¹²⁷.⁰.⁰.²:{p}/",
    "mathematical digits": "http://𝟏𝟐𝟕.𝟎.𝟎.𝟐:{p}/",
    "arabic digits": "http://١٢٧.٠.٠.٢:{p}/",
    "ideographic full stops": "http://127。0。0。2:{p}/",
    "half-width full stops": "http://127｡0｡0｡2:{p}/",
    "full-width full stops": "http://127．0．0．2:{p}/",
    "one dot leaders": "http://127․0․0․2:{p}/",
    "circled letters": "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{p}/",
    "full-width letters": "http://ｌｏｃａｌｈｏｓｔ:{p}/",
    "soft hyphen": "http://127.0.0\u00ad.2:{p}/",
    "zero-width space": "http://127.0.0\u200b.2:{p}/",
    "zero-width joiner": "http://local\u200dhost:{p}/",
    "punycode": "http://xn--127-0-0-2-:{p}/",
    # Per cent signs
    "a digit encoded": "http://127.0.0.%32:{p}/",
    "a dot encoded": "http://127%2e0.0.2:{p}/",
    "a letter encoded": "http://%6cocalhost:{p}/",
    "all encoded": "http://%31%32%37%2e%30%2e%30%2e%32:{p}/",
    "encoded twice": "http://127.0.0.%2532:{p}/",
    "a full-width digit encoded": "http://127.0.0.%EF%BC%92:{p}/",
    "a null encoded": "http://127.0.0.2%00.example:{p}/",
    # IPv6
    "v6 loopback": "http://[::1]:{p}/",
    "v6 loopback in full": "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{p}/",
    "v6 unspecified": "http://[::]:{p}/",
    "v4-mapped": "http://[::ffff:127.0.0.2]:{p}/",
    "v4-mapped, hexadecimal": "http://[::ffff:7f00:2]:{p}/",
    "v4-mapped in full": "http://[0:0:0:0:0:ffff:7f00:2]:{p}/",
    "v4-compatible": "http://[::127.0.0.2]:{p}/",
    "v4-translated": "http://[::ffff:0:127.0.0.2]:{p}/",
    "NAT64": "http://[64:ff9b::127.0.0.2]:{p}/",
    "local NAT64": "http://[64:ff9b:1::7f00:2]:{p}/",
    "6to4": "http://[2002:7f00:2::]:{p}/",
    "Teredo": "http://[2001:0:7f00:2::80ff:fffd]:{p}/",
    "ISATAP": "http://[fe80::5efe:127.0.0.2]:{p}/",
    "v6 with a zone": "http://[::1%25lo]:{p}/",
    "v6 with a bare zone": "http://[::1%lo]:{p}/",
    "link-local with a zone": "http://[fe80::1%25lo]:{p}/",
    "site-local": "http://[fec0::1]:{p}/",
    "unique local": "http://[fd00::1]:{p}/",
    "multicast": "http://[ff02::1]:{p}/",
    "v4 in brackets": "http://[127.0.0.2]:{p}/",
    "a name in brackets": "http://[localhost]:{p}/",
    "v6 without brackets": "http://::1:{p}/",
    "v6 with one bracket": "http://[::1:{p}/",
    "IP of the future": "http://[v1.7f000002]:{p}/",
    # Who is the host?
    "user": "http://user@127.0.0.2:{p}/",
    "user and password": "http://user:secret@127.0.0.2:{p}/",
    "an admitted host as user": "http://127.0.0.3:{q}@127.0.0.2:{p}/",
    "an admitted host as host": "http://127.0.0.2:{p}@127.0.0.3:{q}/",
    "two at signs": "http://a@127.0.0.3:{q}@127.0.0.2:{p}/",
    "an at sign encoded": "http://127.0.0.3%40127.0.0.2:{p}/",
    "a backslash before the at sign": "http://127.0.0.2:{p}\\@127.0.0.3:{q}/",
    "a hash before the at sign": "http://127.0.0.2:{p}#@127.0.0.3:{q}/",
    "a question mark before the at sign": "http://127.0.0.2:{p}?@127.0.0.3:{q}/",
    "a slash before the at sign": "http://127.0.0.2:{p}/@127.0.0.3:{q}/",
    "a semicolon": "http://127.0.0.2:{p};127.0.0.3:{q}/",
    "a space": "http://127.0.0.2:{p} @127.0.0.3:{q}/",
    "two ports": "http://127.0.0.2:{p}:{q}/",
    "no user": "http://@127.0.0.2:{p}/",
    # Ports
    "port with zeros": "http://127.0.0.2:000{p}/",
    "port with a sign": "http://127.0.0.2:+{p}/",
    "port in full-width digits": "http://127.0.0.2:{full_width_p}/",
    "port past 16 bits": "http://127.0.0.2:{p_past_16_bits}/",
    "port zero": "http://127.0.0.2:0/",
    "no port": "http://127.0.0.2:/",
    "port that is none": "http://127.0.0.2:x/",
    # Schemes, slashes, and what stands around
    "no slashes": "http:127.0.0.2:{p}/",
    "one slash": "http:/127.0.0.2:{p}/",
    "three slashes": "http:///127.0.0.2:{p}/",
    "backslashes": "http:\\\\127.0.0.2:{p}/",
    "no scheme": "//127.0.0.2:{p}/",
    "no scheme but backslashes": "\\\\127.0.0.2:{p}/",
    "a space before": " http://127.0.0.2:{p}/",
    "a tab within": "http://127.0.0.\t2:{p}/",
    "a line end within": "http://127.0.0.2:{p}/\r\nHost: a",
    "a null within": "http://127.0.0.2\x00.example:{p}/",
    "a byte order mark before": "\ufeffhttp://127.0.0.2:{p}/",
    "ftp": "ftp://127.0.0.2:{p}/",
    "gopher": "gopher://127.0.0.2:{p}/_GET",
    "dict": "dict://127.0.0.2:{p}/",
    "websocket": "ws://127.0.0.2:{p}/",
    "file": "file:///etc/passwd",
    "file with a host": "file://127.0.0.2:{p}/etc/passwd",
    "unix socket": "http+unix://%2Frun%2Fx/",
    "view source": "view-source:http://127.0.0.2:{p}/",
    "jar": "jar:http://127.0.0.2:{p}!/",
    "data": "data:text/plain,body",
    "a path": "/etc/passwd",
    "nothing": "",
    "a lone surrogate": "http://\udc80:{p}/",
    "longer than any": "http://127.0.0.2:{p}/" + "a" * 8000,
}

# What a name server may answer, in the order of the questions, and how many
# connections the admitted listener then gets.
NAMES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "inside": (("127.0.0.2",),),
    "inside, v6": (("::1",),),
    "inside, mapped": (("::ffff:127.0.0.2",),),
    "inside, compatible": (("::127.0.0.2",),),
    "inside, translated": (("::ffff:0:127.0.0.2",),),
    "inside, NAT64": (("64:ff9b::7f00:2",),),
    "inside, 6to4": (("2002:7f00:2::",),),
    "inside, Teredo": (("2001:0:7f00:2::80ff:fffd",),),
    "inside, link-local": (("fe80::1%lo",),),
    "inside, unique local": (("fd00::1",),),
    "inside, site-local": (("fec0::1",),),
    "unspecified": (("0.0.0.0",),),
    "unspecified, v6": (("::",),),
    "a metadata service": (("169.254.169.254",),),
    "mixed, inside last": (("127.0.0.3", "127.0.0.2"),),
    "mixed, inside first": (("127.0.0.2", "127.0.0.3"),),
    "mixed families": (("127.0.0.3", "::1"),),
    "mixed, far down": ((*["127.0.0.3"] * 20, "127.0.0.2"),),
    "nothing": ((),),
}

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = bytes.fromhex("1f8b08000000000002ff") + b"\x00" * 2000


@attrs.frozen
class Served:
    """What a server does with a request.

    Args:
        said: what it sends first.
        more: what it then sends for ever.
        then: ``closes``, ``resets``, or ``waits``, without more.
        drips: whether it sends byte by byte, one a second.
        ends: what observers are told. A fetch that ends at its time has ``timeout``.
        body: what is fetched, if it is.
    """

    said: bytes = b""
    more: bytes = b""
    then: str = "waits"
    drips: bool = False
    ends: str = "failed"
    body: bytes | None = None


def whole(body: bytes, *headers: bytes) -> bytes:
    """An answer that is all right."""
    length = b"Content-Length: %d" % len(body)
    return OK + b"\r\n".join([length, *headers, b"", body])


def closing(said: bytes, ends: str = "failed") -> Served:
    """An answer after which the connection is closed."""
    return Served(said, then="closes", ends=ends)


ANSWERS: Mapping[str, Served] = {
    # Honest ones
    "an honest answer": Served(whole(b"body"), ends="done", body=b"body"),
    "an honest empty body": Served(whole(b""), ends="done", body=b""),
    "honest chunks": Served(
        CHUNKED + b"2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\nTrailer: t\r\n\r\n",
        ends="done",
        body=b"body",
    ),
    "an early hint": Served(
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + whole(b"body"),
        ends="done",
        body=b"body",
    ),
    "a body that more follows": Served(
        whole(b"body") + whole(b"evil"), ends="done", body=b"body"
    ),
    # Cut bodies and wrong lengths
    "nothing": closing(b""),
    "a reset": Served(then="resets"),
    "a reset in the body": Served(whole(b"body")[:-1], then="resets"),
    "half a status line": closing(b"HTTP/1.1 2"),
    "half a head": closing(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "a body cut at its start": closing(whole(b"body")[:-4]),
    "a body cut at its end": closing(whole(b"body")[:-1]),
    "a chunk cut": closing(CHUNKED + b"4\r\nbo"),
    "a body without its last chunk": closing(CHUNKED + b"4\r\nbody\r\n"),
    "a last chunk without its end": closing(CHUNKED + b"4\r\nbody\r\n0\r\n"),
    "no length": closing(OK + b"\r\nbody"),
    "no length, version 1.0": closing(b"HTTP/1.0 200 OK\r\n\r\nbody"),
    "two lengths": closing(OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbodyx"),
    "two lengths in one": closing(OK + b"Content-Length: 4, 5\r\n\r\nbodyx"),
    "a negative length": closing(OK + b"Content-Length: -4\r\n\r\nbody"),
    "a length with a sign": closing(OK + b"Content-Length: +4\r\n\r\nbody"),
    "a hexadecimal length": closing(OK + b"Content-Length: 0x4\r\n\r\nbody"),
    "a length with an underscore": closing(
        OK + b"Content-Length: 1_0\r\n\r\nbodybodybo"
    ),
    "a length of other digits": closing(OK + "Content-Length: ４\r\n\r\nbody".encode()),
    "an empty length": closing(OK + b"Content-Length:\r\n\r\nbody"),
    "a length that is none": closing(OK + b"Content-Length: x\r\n\r\nbody"),
    "a length past 64 bits": Served(
        OK + b"Content-Length: 18446744073709551620\r\n\r\nbody", ends="too_large"
    ),
    "a length of a thousand digits": Served(
        OK + b"Content-Length: " + b"9" * 1000 + b"\r\n\r\nbody", ends="too_large"
    ),
    "a negative chunk": closing(CHUNKED + b"-4\r\nbody\r\n0\r\n\r\n"),
    "a chunk with a sign": closing(CHUNKED + b"+4\r\nbody\r\n0\r\n\r\n"),
    "a chunk with a prefix": closing(CHUNKED + b"0x4\r\nbody\r\n0\r\n\r\n"),
    "a chunk longer than it says": closing(CHUNKED + b"1\r\nbody\r\n0\r\n\r\n"),
    "a chunk past 64 bits": closing(CHUNKED + b"1" + b"0" * 16 + b"4\r\nbody"),
    "a chunk that is none": closing(CHUNKED + b"zz\r\nbody\r\n0\r\n\r\n"),
    # Codings
    "a gzip bomb": closing(whole(BOMB, b"Content-Encoding: gzip")),
    "a deflate bomb": closing(whole(BOMB, b"Content-Encoding: deflate")),
    "gzip twice": closing(whole(BOMB, b"Content-Encoding: gzip, gzip")),
    "brotli": closing(whole(BOMB, b"Content-Encoding: br")),
    "a coding that is identity": closing(whole(b"body", b"content-encoding: identity")),
    "a gzip bomb in the transfer": closing(
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    ),
    "a transfer coding that is none": closing(OK + b"Transfer-Encoding: x\r\n\r\nbody"),
    # Not HTTP, or not an answer to this
    "another protocol": closing(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "no status line": closing(b"<html>body</html>"),
    "version 0.9": closing(b"body\r\n\r\n"),
    "version 2": closing(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "zeros": closing(b"\x00" * 20000),
    "a status that is no number": closing(b"HTTP/1.1 2OO OK\r\n\r\n"),
    "no status": closing(b"HTTP/1.1 OK\r\n\r\n"),
    "a header without a colon": closing(OK + b"no colon\r\n\r\n"),
    "not found": closing(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx"),
    "a wish for a password": closing(
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n"
        b"Content-Length: 1\r\n\r\nx"
    ),
    "a part": closing(b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx"),
    "no content": closing(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not modified": closing(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "another protocol from now on": closing(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
    ),
    # Redirects to nowhere
    "a redirect without a location": closing(
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
    ),
    "a redirect with two locations": closing(
        b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\n"
        b"Content-Length: 0\r\n\r\n"
    ),
    "a location that is not text": closing(
        b"HTTP/1.1 302 Found\r\nLocation: /\xff\r\nContent-Length: 0\r\n\r\n"
    ),
    "a redirect to itself": closing(
        b"HTTP/1.1 302 Found\r\nLocation: \r\nContent-Length: 0\r\n\r\n"
    ),
    "a redirect of its own kind": closing(
        b"HTTP/1.1 300 Choices\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    ),
    # Too much
    "a length past the bound": Served(
        OK + b"Content-Length: 100001\r\n\r\n", ends="too_large"
    ),
    "an endless body": Served(OK + b"\r\n", b"x" * 8192, ends="too_large"),
    "endless chunks": Served(
        CHUNKED, b"2000\r\n" + b"x" * 8192 + b"\r\n", ends="too_large"
    ),
    "endless chunks of one byte": Served(
        CHUNKED, b"1\r\nx\r\n" * 1000, ends="too_large"
    ),
    "an endless chunk extension": Served(CHUNKED + b"1;", b"x" * 8192),
    "an endless chunk length": Served(CHUNKED, b"0" * 8192),
    "endless trailers": Served(CHUNKED + b"0\r\n", b"T: t\r\n" * 1000),
    "an endless status line": Served(b"HTTP/1.1 200 ", b"x" * 8192),
    "an endless header": Served(OK + b"X: ", b"x" * 8192),
    "endless headers": Served(OK, b"X: y\r\n" * 1000, ends="too_large"),
    "endless lines of one header": Served(
        OK + b"X: y\r\n", b" y\r\n" * 1000, ends="too_large"
    ),
    "endless cookies": Served(OK, b"Set-Cookie: a=b\r\n" * 500, ends="too_large"),
    "endless answers before the answer": Served(
        b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, ends="too_large"
    ),
    "endless zeros": Served(b"", b"\x00" * 8192),
    # Too slow
    "silence": Served(ends="timeout"),
    "silence after the head": Served(OK + b"Content-Length: 4\r\n\r\n", ends="timeout"),
    "silence before the last byte": Served(whole(b"body")[:-1], ends="timeout"),
    "silence before the last chunk": Served(CHUNKED + b"4\r\nbody\r\n", ends="timeout"),
    "a dripping status line": Served(OK * 9, drips=True, ends="timeout"),
    "dripping headers": Served(OK + b"X: y\r\n" * 99, drips=True, ends="timeout"),
    "a dripping body": Served(whole(b"body" * 99), drips=True, ends="timeout"),
    "dripping chunks": Served(CHUNKED + b"1\r\nx\r\n" * 99, drips=True, ends="timeout"),
}
