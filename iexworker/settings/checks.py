"""What an operator should hear although it stops nothing: typing errors, risky values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from iexworker.masking import masked_address
from iexworker.settings import texts
from iexworker.settings.table import (
    DEAD_VARIABLES,
    PROXY_VARIABLES,
    REGISTRY_PARTS,
    TABLE,
    Setting,
    registry_entries,
)

RESERVED = frozenset(("IEXWORKER_CONFIG_DIR", "IEXWORKER_ENV", "IEXWORKER_SANDBOX_CACHE"))

READ_BY_OTHERS = frozenset(
    name
    for upper in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    for name in (upper, upper.lower())
) | frozenset(
    (
        "CURL_CA_BUNDLE",
        "DOCKER_CERT_PATH",
        "DOCKER_CONFIG",
        "DOCKER_TLS_VERIFY",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
    )
)
"""Variables that the libraries which we use read for themselves."""

_REGISTRY_KEY = re.compile(rf"docker_registry_(?:{'|'.join(REGISTRY_PARTS)})_[0-9]+")
_VOLATILE = {
    "tmpfs": "is in memory (tmpfs)",
    "ramfs": "is in memory (ramfs)",
    # Worse: the engine of the host would bind other folders of this name into the apps.
    "overlay": "is the container's own and unknown to the host (mount it under the same path)",
}
_MOUNT_ESCAPE = re.compile(r"\\([0-7]{3})")


def _named_entries() -> Iterator[Setting]:
    yield from TABLE
    yield from registry_entries(0)
    yield from registry_entries(1)


def known_variables() -> frozenset[str]:
    """Return every variable with a fixed name, `_FILE` twins included."""
    names = set(RESERVED | DEAD_VARIABLES | PROXY_VARIABLES)
    for entry in _named_entries():
        for name in filter(None, (entry.variable, entry.own_variable)):
            names.add(name)
            if entry.secret:
                names.add(name + "_FILE")
    return frozenset(names)


def spoilt_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a problem for each name that an env file has spoilt, and each text of no setting."""
    variables = known_variables() | READ_BY_OTHERS
    yield from texts.spoilt_names(environ, variables)
    for name in sorted(environ):
        of_no_entry = name in RESERVED | READ_BY_OTHERS or name.startswith("LOGGING_LEVEL_")
        if of_no_entry and (problem := texts.fault(environ[name])):
            shown = masked_address(environ[name])
            line = shown if shown.isprintable() else repr(shown)[1:-1]
            yield f"{name}={line}: expected a text of one line; {problem}"


def unknown_names(environ: Mapping[str, str], file_keys: Mapping[str, object]) -> Iterator[str]:
    """Yield a warning for each name that looks like a setting and is none."""
    variables = known_variables()
    for name in sorted(environ):
        ours = name.upper().startswith(("IEXEC_", "IEXWORKER_")) and environ[name]
        if ours and name not in variables and not _is_registry_variable(name):
            yield _unknown(name, variables)
    keys = frozenset(entry.key for entry in _named_entries())
    for key in sorted(file_keys):
        if key not in keys and _REGISTRY_KEY.fullmatch(key) is None:
            yield _unknown(key, keys)


def _is_registry_variable(name: str) -> bool:
    key = name.removeprefix("IEXWORKER_").lower()
    plain = key.removesuffix("_file") if "_password_" in key else key
    return name.startswith("IEXWORKER_") and _REGISTRY_KEY.fullmatch(plain) is not None


def _unknown(name: str, known: frozenset[str]) -> str:
    # Here, since a worker without typing errors needs no difflib.
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.75)
    near = near or get_close_matches(name.upper(), known, n=1, cutoff=0.75)
    return f"{name} is no setting and has no effect" + (
        f"; did you mean {near[0]}?" if near else ""
    )


def ignored_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a note about variables of upstream's past, and of proxies in the Java way."""
    dead = sorted(name for name in DEAD_VARIABLES if environ.get(name))
    if dead:
        yield f"{', '.join(dead)}: read by no version of the worker, this one included"
    proxies = sorted(name for name in PROXY_VARIABLES if environ.get(name))
    if "proxyHost" in environ.get("JAVA_TOOL_OPTIONS", ""):
        proxies.append("JAVA_TOOL_OPTIONS")
    if proxies:
        yield f"{', '.join(proxies)}: no effect here; set HTTP_PROXY, HTTPS_PROXY and NO_PROXY"


def volatile_folder(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """Say why what is kept in a folder may vanish (container, tmpfs, /tmp), None when it stays."""
    real = os.path.realpath(path)
    kind = _file_system(real, mounts)
    if kind != "overlay" and Path(real).is_relative_to("/tmp"):  # noqa: S108 - looked for, not used
        return "is below /tmp, which the system empties"
    return _VOLATILE.get(kind)


def _file_system(real: str, mounts: Path) -> str:
    """Return the kind of the file system that a path without links is in."""
    kind, length = "", -1
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, point, mounted, *_ = line.split(" ")
        point = _MOUNT_ESCAPE.sub(lambda match: chr(int(match[1], 8)), point)
        if len(point) >= length and Path(real).is_relative_to(point):
            kind, length = mounted, len(point)
    return kind
