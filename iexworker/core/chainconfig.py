"""The chain configuration that a config server gives (docs/spec/02, 4.2 and 4.3)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from iexworker.json_fields import MalformedMessage
from iexworker.poco.models import ChainConfiguration
from iexworker.settings.parsers import parse_duration_s

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_SHORTEST_BLOCK_S = 0.001


def chain_configuration(data: object) -> ChainConfiguration:
    """Read and check the document; raises `MalformedMessage` that names the field.

    Scalars may come as texts. The node URL may be empty: a setting can override it.
    """
    if not isinstance(data, Mapping):
        raise MalformedMessage(f"chain configuration: expected an object, got {data!r:.80}")
    chain_id = _integer(data.get("chainId"))
    if chain_id < 1:
        raise MalformedMessage(
            f"chainId: expected a positive number, got {data.get('chainId')!r:.80}"
        )
    hub = _text(data, "iexecHubContractAddress").lower()
    if not _ADDRESS.fullmatch(hub) or not int(hub, 16):
        raise MalformedMessage(f"iexecHubContractAddress: expected an address, got {hub!r:.80}")
    return ChainConfiguration(
        chain_id=chain_id,
        hub_address=hub,
        node_url=_text(data, "chainNodeUrl"),
        sidechain=str(data.get("sidechain")).lower() == "true",
        block_time_s=_block_time_s(data.get("blockTime")),
    )


def _block_time_s(value: object) -> float:
    try:
        seconds = _seconds(value)
    except (ValueError, OverflowError):
        seconds = math.nan
    if not _SHORTEST_BLOCK_S <= seconds < math.inf:
        raise MalformedMessage(
            f"blockTime: expected a positive duration such as PT5S or seconds, got {value!r:.80}"
        )
    return seconds


def _seconds(value: object) -> float:
    if isinstance(value, str) and value.strip().lstrip("+-")[:1] in ("P", "p"):
        return parse_duration_s(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(value)
    return float(value)


def _integer(value: object) -> int:
    """Return the value of a number, or of a text that holds one; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return 0
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedMessage(f"{key}: expected a text, got {value!r:.80}")
    return value.strip()
