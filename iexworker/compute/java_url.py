"""URL texts as `java.net.URL` and its HTTP client read them (OpenJDK 17; docs/spec/06, 5.4).

Java workers fetch with `new URL(text).openStream()`. It trims and accepts other texts than RFC
3986 has, percent-encodes nothing and leaves the dot segments of an absolute URL alone. A text
that is read otherwise here is a file that peers have and we have not.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

PORTS = {"http": 80, "https": 443}

OTHER_SCHEMES = frozenset({"ftp", "file", "jar", "jmod", "jrt", "mailto", "nested"})
"""What else the URLs of a Java worker may begin with; `nested` is Spring Boot's."""

_BLANKS = "".join(map(chr, range(0x21)))
_NOT_GIVEN = -1
_MOST_PORT = 65535

# A blank may stand in both, a colon in the first.
_BAD_IN_USER = re.compile(r"[\x00-\x1f\x7f/?#\[\]@\\]")
_BAD_IN_HOST = re.compile(r"[\x00-\x1f\x7f:/?#\[\]@\\]")
_ZONE = re.compile(r"%[^\]]*(?=\])")


class BadUrl(ValueError):
    """Java gives up on this text before it connects anywhere."""


class OtherScheme(BadUrl):
    """A scheme that Java knows and HTTP is not."""


@dataclass(frozen=True, slots=True)
class JavaUrl:
    """An http or https URL; all but the scheme's case is as written."""

    scheme: str
    authority: str
    host: str
    """An address of IPv6 is in brackets and may have a zone."""
    port: int
    """-1 when none is given."""
    path: str
    query: str | None

    @classmethod
    def parse(cls, text: str) -> JavaUrl:
        """Read an absolute URL; raises `BadUrl`."""
        scheme, rest = _split_scheme(text)
        if scheme is None:
            raise BadUrl("no protocol")
        if scheme in OTHER_SCHEMES:
            raise OtherScheme(f"{scheme}: no HTTP")
        if scheme not in PORTS:
            raise BadUrl(f"unknown protocol: {scheme}")
        return cls(scheme, "", "", _NOT_GIVEN, "", None)._with(rest)

    def redirected(self, location: str) -> JavaUrl | None:
        """Return where a redirect from here leads; None when it leaves the scheme.

        Java does not follow that one. Raises `BadUrl`.
        """
        location = location.replace("\t", " ")
        try:
            target = JavaUrl.parse(location)
        except OtherScheme:
            return None
        except BadUrl:
            # Then it is read as a relative one.
            scheme, rest = _split_scheme(location)
            if scheme not in (None, self.scheme):
                raise
            return self._with(rest)
        return target if target.scheme == self.scheme else None

    def checked(self) -> JavaUrl:
        """Return the URL if Java would ask a server for it; raises `BadUrl`."""
        user, at, _ = self.authority.partition("@")
        if not self.host or "@" in self.authority[len(user) + 1 :]:
            raise BadUrl("no host")
        if at and _BAD_IN_USER.search(user):
            raise BadUrl("illegal character in the user")
        if not self.host.startswith("[") and _BAD_IN_HOST.search(self.host):
            raise BadUrl("illegal character in the host")
        if self.port > _MOST_PORT:
            raise BadUrl(f"port {self.port} is out of range")
        return self

    @property
    def connect_host(self) -> str:
        """The name or address to connect to."""
        return self.host.strip("[]")

    @property
    def connect_port(self) -> int:
        """The port to connect to."""
        return PORTS[self.scheme] if self.port == _NOT_GIVEN else self.port

    @property
    def host_header(self) -> str:
        """The value of the header `Host`."""
        host = _ZONE.sub("", self.host) if self.host.startswith("[") else self.host
        return host if self.connect_port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """What the request line asks the server for."""
        file = self.path + self._query()
        return file if file.startswith("/") else "/" + file

    @property
    def absolute(self) -> str:
        """What the request line asks a proxy for."""
        return f"{self.scheme}://{self.authority}{self.path}{self._query()}"

    def _query(self) -> str:
        return "" if self.query is None else f"?{self.query}"

    def _with(self, rest: str) -> JavaUrl:
        """Return this URL with what stands behind a scheme's colon; the fragment is dropped."""
        if "\n" in rest or "\0" in rest:
            raise BadUrl("illegal character")
        rest = rest.partition("#")[0]
        before, mark, after = rest.partition("?")
        query = after if mark else None
        authority, host, port, path = self.authority, self.host, self.port, self.path
        if before.startswith("//") and not before.startswith("////"):
            authority, slash, tail = before[2:].partition("/")
            before = slash + tail
            host, port = _host_and_port(authority)
            path = "" if authority else path
        elif not rest:
            query = self.query
        path = _joined(path, before, authority, query_alone=bool(mark) and not before)
        return JavaUrl(self.scheme, authority, host, port, path, query)


def wire(text: str) -> bytes:
    """Encode as Java prints to a socket: UTF-8, with `?` for half of a surrogate pair."""
    return text.encode("utf-8", "replace")


def _split_scheme(text: str) -> tuple[str | None, str]:
    """Return the scheme in lower case, None without one, and what comes after its colon."""
    text = text.strip(_BLANKS)
    if text[:4].lower() == "url:":
        text = text[4:]
    before, colon, rest = text.partition(":")
    if not colon or text.startswith("#") or not _is_scheme(before):
        return None, text
    return before.lower(), rest


def _is_scheme(text: str) -> bool:
    letters = text.replace(".", "a").replace("+", "a").replace("-", "a")
    return text[:1].isalpha() and all(each.isalpha() or each.isdecimal() for each in letters)


def _host_and_port(authority: str) -> tuple[str, int]:
    """Return host and port; more than one `@` leaves no host, which is found later."""
    user, at, host = authority.partition("@")
    host = host if at else user
    if "@" in host:
        return "", _NOT_GIVEN
    if host.startswith("["):
        address, bracket, after = host[1:].partition("]")
        if not bracket or len(address) < 2 or (after and not after.startswith(":")):
            raise BadUrl("invalid authority")
        return f"[{_ipv6(address)}]", _port(after[1:])
    host, _, port = host.partition(":")
    return host, _port(port)


def _ipv6(text: str) -> str:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        raise BadUrl("invalid address in brackets") from None
    return text


def _port(text: str) -> int:
    if not text:
        return _NOT_GIVEN
    digits = text[1:] if text[0] in "+-" else text
    if not digits.isdecimal():
        raise BadUrl("the port is no number")
    port = int(digits) * (-1 if text[0] == "-" else 1)
    if not _NOT_GIVEN <= port < 1 << 31:
        raise BadUrl("the port is out of range")
    return port


def _joined(base: str, path: str, authority: str, *, query_alone: bool) -> str:
    """Return the path that `path` leads to from `base`."""
    if not path:
        return base.rpartition("/")[0] + "/" if query_alone and base else base
    if path.startswith("/"):
        return path
    if not base:
        return "/" + path if authority else path
    return _without_dots(base.rpartition("/")[0] + "/" + path)


def _without_dots(path: str) -> str:
    """Remove dot segments as Java does, who leaves some of those that lead above the root."""
    while "/./" in path:
        path = path.replace("/./", "/", 1)
    start = path.find("/../")
    while start >= 0:
        before = path.rfind("/", 0, start)
        if before >= 0 and path.find("/../", before) != 0:
            path = path[:before] + path[start + 3 :]
            start = path.find("/../")
        else:
            start = path.find("/../", start + 3)
    while path.endswith("/.."):
        before = path.rfind("/", 0, path.find("/.."))
        if before < 0:
            break
        path = path[: before + 1]
    return path.removesuffix(".") if path.endswith("/.") else path
