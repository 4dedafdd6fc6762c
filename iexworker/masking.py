"""Addresses without what lets their reader in: passwords, tokens, access keys.

A node's address is often its key: `user:password@`, `?apikey=`, `/v3/KEY`. What is written to a
log, the board, a terminal or a page goes through `masked`; host and path stay, so that an operator
still sees where a request went.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\`]+")
_PATH_OF_A_LIBRARY = re.compile(r"(?<=with url: )/\S*")  # of urllib3, which leaves the host away
_OF_THIS_MACHINE = ("unix://", "file://")  # a path of the machine, whatever its folders are called
_ENDS = ".,;:!?)]}"  # of a sentence that an address stands in

_VERSION = re.compile(r"v[0-9]+")
_PLAIN_WORD = re.compile(r"[a-z][a-z._-]{0,14}")
_PUBLIC = re.compile(r"0x[0-9a-fA-F]*|Qm[1-9A-HJ-NP-Za-km-z]{44}|baf[a-z2-7]{50,}|[^/]*\.[^/]*")
"""Ids of tasks and of contents, and names of files: no secret, and what an operator looks for."""
_KEY = re.compile(r"[A-Za-z0-9_-]{20,}")
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_.-]+")
_NAMED = frozenset({"ipfs", "ipns", "containers", "images", "networks", "exec"})
"""After these a long name is a content's, or one of the Docker engine's."""
_OPEN_PARAMETERS = frozenset({"blockNumber", "walletAddress"})
_KEY_IN_HOST = re.compile(r"(?<![^.@/])[0-9a-f]{24,}(?=\.)")
_SPOILT = re.compile(r"^[^A-Za-z0-9_-]+|[^A-Za-z0-9_-]+$")
"""What quotes and line ends of an env file leave around a key."""
_REGISTRY = re.compile(r"/(?:manifests|blobs|tags)/")


def masked(text: str) -> str:
    """Return the text with every address in it masked."""
    if "://" in text:
        text = _ADDRESS.sub(lambda match: _in_a_sentence(match[0]), text)
    if "with url: /" in text:
        text = _PATH_OF_A_LIBRARY.sub(lambda match: _rest(match[0]), text)
    return text


def masked_address(text: str) -> str:
    """Return a text that should be an address and may be none; what could be secret is hidden."""
    if text.startswith(_OF_THIS_MACHINE):
        return text
    scheme, separator, rest = text.rpartition("://") if text.count("://") == 1 else ("", "", text)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    before_query = re.split(r"[?#]", rest, maxsplit=1)[0]
    port = authority.rpartition(":")[2] if ":" in authority else ""
    if "@" in authority:
        rest = f"{HIDDEN}@{rest[authority.rindex('@') + 1 :]}"
    elif "@" in before_query and port and not port.isdigit():
        # No port but a password with a slash in it.
        rest = f"{HIDDEN}@{rest[before_query.rindex('@') + 1 :]}"
    cut = next((at for at, char in enumerate(rest) if char in "/?#"), len(rest))
    return scheme + separator + _KEY_IN_HOST.sub(HIDDEN, rest[:cut]) + _rest(rest[cut:])


def _in_a_sentence(found: str) -> str:
    address = found.rstrip(_ENDS)
    return masked_address(address) + found[len(address) :]


def _rest(text: str) -> str:
    """Mask what follows the host: path, query, fragment."""
    path, mark, fragment = text.partition("#")
    path, question, query = path.partition("?")
    shown = _path(path)
    if question:
        shown += "?" + "&".join(map(_parameter, query.split("&")))
    return shown + (f"#{HIDDEN}" if mark and fragment else mark)


def _parameter(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals:
        return HIDDEN if text else text
    if name in _OPEN_PARAMETERS:
        return text
    return f"{name}={HIDDEN if value else ''}"


def _path(path: str) -> str:
    if _REGISTRY.search(path):
        return path
    parts = path.split("/")
    return "/".join(
        HIDDEN if _is_key(part, before) else part
        for before, part in zip(["", *parts], parts, strict=False)
    )


def _is_key(part: str, before: str) -> bool:
    part = _SPOILT.sub("", part)
    if _TOKEN.fullmatch(part):
        return True
    if not part or before in _NAMED or _PUBLIC.fullmatch(part):
        return False
    if _VERSION.fullmatch(before):
        return _PLAIN_WORD.fullmatch(part) is None and _VERSION.fullmatch(part) is None
    return _KEY.fullmatch(part) is not None
