"""Which addresses an input may be fetched from: a requester chooses them, on our network.

The name is resolved once and the connection goes to the address that was checked, so that a
second answer of the name server cannot lead elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket

from iexworker import error_words
from iexworker.compute.blame import Blame, Trouble

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
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
    try:
        public = is_public(host)
    except ValueError:
        public = host != "localhost" and not host.endswith(".localhost")
    if not public:
        raise Trouble(Blame.OURS, f"{host}: not on the public Internet, refused by policy")


def _lookup(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
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
