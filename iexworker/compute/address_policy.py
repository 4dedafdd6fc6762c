"""Which addresses an input may be fetched from: a requester chooses them, on our network.

The name is resolved once and the connection goes to the address that was checked, so that a
second answer of the name server cannot lead elsewhere. What stands for an address is what Java
takes for one: decimal numbers only, one to four of them, `0177.1` included.
"""

from __future__ import annotations

import ipaddress
import socket

from iexworker import error_words
from iexworker.compute.blame import Blame, Trouble

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LONGEST_NUMERIC = 15
_OCTET = 255
_LONGEST_LABEL = 63
_UNKNOWN_NAME = {socket.EAI_NONAME, socket.EAI_NODATA}


def resolve(host: str, port: int, *, private_allowed: bool) -> list[str]:
    """Return the addresses of `host` that may be connected to, at least one.

    Raises `Trouble`: NETWORK when the name is unknown, OURS when the resolver does not work or
    when our policy refuses every address.
    """
    addresses = _lookup(host, port)
    allowed = [text for text in addresses if private_allowed or is_public(text)]
    if not allowed:
        raise Trouble(
            Blame.OURS,
            f"{host} is at {', '.join(addresses)}: not on the public Internet, refused by policy",
        )
    return allowed


def check_literal(host: str, *, private_allowed: bool) -> None:
    """Refuse, as `resolve` does, a host that names a private address by itself.

    For what a proxy resolves: the operator's proxy has its own rules on the rest.
    """
    if private_allowed:
        return
    name = host.lower().rstrip(".")
    try:
        public = is_public(_address(host) or _c_address(host) or host)
    except ValueError:
        public = name != "localhost" and not name.endswith(".localhost")
    if not public:
        raise Trouble(Blame.OURS, f"{host}: not on the public Internet, refused by policy")


def _address(host: str) -> str | None:
    """Return the IPv4 address that Java reads the host as; None for any other host."""
    parts = host.split(".")
    if len(host) > _LONGEST_NUMERIC or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    *first, last = map(int, parts)
    left = 4 - len(first)
    if left < 1 or any(part > _OCTET for part in first) or last >= 1 << 8 * left:
        return None
    heads = sum(part << 8 * (3 - place) for place, part in enumerate(first))
    return str(ipaddress.IPv4Address(heads + last))


def _c_address(host: str) -> str | None:
    """Return the IPv4 address that the C library reads the host as, octal and hexadecimal too."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _lookup(host: str, port: int) -> list[str]:
    address = _address(host)
    if address is not None:
        return [address]
    if _c_address(host) is not None:
        raise Trouble(Blame.NETWORK, f"{host}: no host name, and no address to Java")
    if any(len(label) > _LONGEST_LABEL for label in host.split(".")):
        raise Trouble(Blame.REQUESTER, f"{host!r}: no host name")
    try:
        # As bytes: Python would turn a name that is not ASCII into one that Java never asks for.
        found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        blame = Blame.NETWORK if error.errno in _UNKNOWN_NAME else Blame.OURS
        raise Trouble(blame, error_words.explained(error, f"http://{host}")[0]) from None
    except (UnicodeError, ValueError) as error:
        raise Trouble(Blame.REQUESTER, f"{host!r}: no host name: {error}") from None
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def is_public(text: str) -> bool:
    """Whether the address, and any address it stands for, is on the public Internet."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return all(each.is_global and not each.is_multicast for each in _meanings(address))


def _meanings(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    carried = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *(item for item in carried if item is not None)]
