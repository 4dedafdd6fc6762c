"""Which dataset locations are content addresses, to be asked of IPFS gateways.

Upstream takes what java-multiaddr takes: `/ipfs/` or `/p2p/` and a base58 hash (docs/spec/06,
section 5.3). CIDs of version 1 are taken besides, after `/ipfs/` only.
"""

from __future__ import annotations

import re

_BASE58 = "[1-9A-HJ-NP-Za-km-z]"
_V0 = re.compile(rf"/(?:ipfs|p2p)/(?:Qm{_BASE58}{{44}}|1{_BASE58}{{8,}})")
_V1 = re.compile(
    r"/ipfs/(?:"
    r"b[a-z2-7]{8,}"  # base32
    r"|B[A-Z2-7]{8,}"
    r"|k[a-z0-9]{8,}"  # base36
    r"|f[0-9a-f]{8,}"  # base16
    rf"|z{_BASE58}{{8,}}"  # base58btc
    r"|[mu][A-Za-z0-9+/_-]{8,})"  # base64, base64url
)


def is_content_address(location: str) -> bool:
    """Whether the location is a path of IPFS instead of a URL."""
    return bool(_V0.fullmatch(location) or _V1.fullmatch(location))


def gateway_urls(location: str, gateways: tuple[str, ...]) -> tuple[str, ...]:
    """Return the URLs at which the content may be had, in the order to try."""
    return tuple(gateway.rstrip("/") + location for gateway in gateways)
