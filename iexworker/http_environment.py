"""What the environment decides about HTTP: proxies, authorities, Docker's TLS. One rule for all.

Every client of the worker follows it, by a session of `http_session.py` or by asking here. The
variables are read at each call. Nothing else of the environment counts, `.netrc` least of all: it
would put a stranger's login in place of a token (docs/decisions/0017).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

AUTHORITIES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Files, or folders, of authorities to trust instead of the built-in ones; the first one counts."""

_PORTS = {"http": 80, "https": 443}
_EXAMPLE = "http://proxy.example:3128"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where requests of one scheme go."""

    url: str
    """With a scheme; it may carry the proxy's login."""
    variable: str
    """Which variable says so."""


@dataclass(frozen=True, slots=True)
class DockerTls:
    """How a Docker engine is asked with TLS."""

    authority: str | None
    """The file to check the engine's certificate by; None: the authorities of all clients."""
    client: tuple[str, str] | None
    """Our certificate and its key."""


def proxy_for(
    scheme: str, host: str, port: int | None = None, environ: Mapping[str, str] = os.environ
) -> Proxy | None:
    """Return the proxy for requests to a host, None when it is asked directly.

    `HTTP_PROXY` or `HTTPS_PROXY` by the scheme, else `ALL_PROXY`; in lower case, too, which wins.
    What stays on this machine, and what `NO_PROXY` lists, goes through no proxy.
    """
    found = _proxy(scheme, environ)
    if found is None or _is_here(host):
        return None
    _, listed = _value("NO_PROXY", environ)
    return None if _is_listed(host, port or _PORTS[scheme], listed) else found


def proxy_of_url(url: str, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """Return the proxy for a URL, None for one of another scheme, or of no host."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            return None
        return proxy_for(parts.scheme, parts.hostname, parts.port, environ)
    except ValueError:
        return None  # whoever asks there will hear of it


def spoken_url(address: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the address with the scheme that is spoken there: a Docker engine's says `tcp`."""
    scheme, _, rest = address.partition("://")
    if scheme != "tcp":
        return address
    return f"{'http' if docker_tls(address, environ) is None else 'https'}://{rest}"


def authorities(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the file or folder of trusted authorities, None for the built-in ones."""
    return next((environ[name] for name in AUTHORITIES if environ.get(name)), None)


def docker_tls(address: str, environ: Mapping[str, str] = os.environ) -> DockerTls | None:
    """Return how the engine at this address is asked with TLS, None when it is asked without.

    As the `docker` command reads `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`; never unverified.
    """
    scheme = address.partition("://")[0]
    if scheme != "https" and not (scheme == "tcp" and environ.get("DOCKER_TLS_VERIFY")):
        return None
    folder = _docker_folder(environ)
    authority, certificate, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    return DockerTls(
        str(authority) if authority.is_file() else None,
        (str(certificate), str(key)) if certificate.is_file() and key.is_file() else None,
    )


def problems(environ: Mapping[str, str], docker_host: str) -> Iterator[str]:
    """Yield what stands in these variables and cannot be used, in words for an operator."""
    if "*" not in _items(_value("NO_PROXY", environ)[1]):
        named = {found for scheme in _PORTS if (found := _proxy(scheme, environ))}
        for proxy in sorted(named, key=lambda item: item.variable):
            if not _is_usable(proxy.url):
                yield (
                    f"{proxy.variable}={_shown(proxy.url)}: expected http://host:port of an HTTP "
                    f"proxy (SOCKS is not spoken here), for example {proxy.variable}={_EXAMPLE}"
                )
    variable = next((name for name in AUTHORITIES if environ.get(name)), None)
    if variable and (reason := _no_authorities(environ[variable])):
        yield (
            f"{variable}={environ[variable]}: {reason}; expected a file of certificates in PEM, "
            f"for example {variable}=/etc/ssl/certs/ca-certificates.crt"
        )
    path = environ.get("DOCKER_CERT_PATH")
    if path and docker_tls(docker_host, environ) and not Path(path).is_dir():
        yield (
            f"DOCKER_CERT_PATH={path}: there is no such folder; expected the one with ca.pem, "
            "cert.pem and key.pem, for example DOCKER_CERT_PATH=/etc/docker/client"
        )


def _proxy(scheme: str, environ: Mapping[str, str]) -> Proxy | None:
    for name in (f"{scheme.upper()}_PROXY", "ALL_PROXY"):
        variable, text = _value(name, environ)
        if text:
            return Proxy(text if "://" in text else f"http://{text}", variable)
    return None


def _value(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that counts, and its text; an empty one is unset."""
    for variable in (name.lower(), name):
        if text := environ.get(variable, "").strip():
            return variable, text
    return name, ""


def _is_here(host: str) -> bool:
    """Tell whether requests to the host never leave this machine."""
    name = _plain(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _is_listed(host: str, port: int, listed: str) -> bool:
    name = _plain(host)
    return any(_matches(name, port, item) for item in _items(listed))


def _items(listed: str) -> list[str]:
    return listed.replace(",", " ").lower().split()


def _matches(name: str, port: int, item: str) -> bool:
    if item == "*":
        return True
    address = _address(name)
    if address is not None and (network := _network(item)) is not None:
        return address in network
    item, _, wanted = item.rpartition(":") if _has_port(item) else (item, "", "")
    if wanted and wanted != str(port):
        return False
    if address is not None:
        return _address(_plain(item)) == address
    domain = item.removeprefix("*").strip(".")
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))


def _has_port(item: str) -> bool:
    """Tell a port from the end of an IPv6 address, which has brackets where a port follows."""
    before, _, after = item.rpartition(":")
    return after.isdigit() and (before.endswith("]") or ":" not in before) and bool(before)


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = not any(letter.isspace() or not letter.isprintable() for letter in url)
    return parts.scheme in _PORTS and bool(parts.hostname) and plain


def _shown(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{'***@' if '@' in rest else ''}{rest.rpartition('@')[2]}"


def _no_authorities(path: str) -> str:
    """Say why no authorities can be had from there, empty when they can."""
    # Here, since hardly any start needs it.
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    is_folder = Path(path).is_dir()
    try:
        context.load_verify_locations(**{"capath" if is_folder else "cafile": path})
    except ssl.SSLError:
        return "there is no certificate in it"
    except OSError as error:
        return (error.strerror or "it cannot be read").lower()
    return ""


def _docker_folder(environ: Mapping[str, str]) -> Path:
    named = environ.get("DOCKER_CERT_PATH") or environ.get("DOCKER_CONFIG")
    return Path(named) if named else Path(environ.get("HOME", "~")).expanduser() / ".docker"
