"""Credentials for a pull from the operator's Docker configuration, whatever is in it.

`$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, as the Docker client writes it:
`credHelpers` and `credsStore` name programs to be asked, `auths` has credentials. Nothing here
fails: without credentials an image is pulled as anybody may. Contexts are no matter of ours:
`DOCKER_HOST` says where the engine is.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from iexworker.compute.images import DEFAULT_REGISTRY
from iexworker.errors import WorkerError

log = logging.getLogger(__name__)

HELPER_TIMEOUT_S = 10.0

_INDEX = "https://index.docker.io/v1/"
"""How helpers and files name the default registry."""
_INDEX_HOST = "index.docker.io"
_TOKEN_USER = "<token>"  # noqa: S105 - the helper's mark of a token, no secret
_NOTHING_KEPT = "credentials not found"
_said: set[str] = set()


class _HelperFailed(WorkerError):
    """A credential helper is missing, failed, or did not answer."""


def find(registry: str) -> dict[str, str]:
    """Return what the engine is to send to `registry`; empty for nothing."""
    config = _config()
    server = _INDEX if registry == DEFAULT_REGISTRY else registry
    helper = _helper(config, server)
    if helper:
        try:
            return _ask(helper, server) or _kept(config, registry)
        except _HelperFailed as error:
            say_once(helper, "credential helper failed, pulling without it", error=str(error))
    return _kept(config, registry)


def say_once(subject: str, event: str, **facts: str) -> None:
    """Log a warning, the first time in this process that it concerns `subject`."""
    if subject not in _said:
        _said.add(subject)
        log.warning(event, extra=facts)


def _config() -> Mapping[str, Any]:
    path = _path()
    try:
        config = json.loads(path.read_bytes()) if path else {}
        if not isinstance(config, dict):
            raise ValueError("expected a JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        say_once(str(path), "Docker configuration not read", file=str(path), error=str(error))
        return {}
    return config


def _path() -> Path | None:
    if folder := os.environ.get("DOCKER_CONFIG"):
        return Path(folder) / "config.json"
    try:
        return Path.home() / ".docker" / "config.json"
    except RuntimeError:
        return None  # a user without a home


def _helper(config: Mapping[str, Any], server: str) -> str:
    helpers = config.get("credHelpers")
    named = helpers if isinstance(helpers, dict) else {}
    for name in (server, *((DEFAULT_REGISTRY, _INDEX_HOST) if server == _INDEX else ())):
        if named.get(name):
            return str(named[name])
    return str(config.get("credsStore") or "")


def _ask(helper: str, server: str) -> dict[str, str]:
    """Return what `docker-credential-<helper> get` answers; empty when it keeps nothing."""
    program = f"docker-credential-{helper}"
    if "/" in helper or "\0" in helper:
        raise _HelperFailed(f"{program}: no name of a program")
    answer = _output(program, server)
    try:
        kept = json.loads(answer)
        user, secret = str(kept["Username"]), str(kept["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _HelperFailed(f"{program}: no credentials in its answer") from None
    if not user:
        return {}
    if user == _TOKEN_USER:
        return {"identitytoken": secret, "serveraddress": server}
    return {"username": user, "password": secret, "serveraddress": server}


def _output(program: str, server: str) -> str:
    try:
        process = subprocess.Popen(
            [program, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise _HelperFailed(f"{program}: not installed, or not in PATH") from None
    except OSError as error:
        raise _HelperFailed(f"{program}: {error.strerror}") from None
    with process:
        try:
            answer = process.communicate(server.encode(), HELPER_TIMEOUT_S)[0]
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise _HelperFailed(f"{program}: no answer in {HELPER_TIMEOUT_S:.0f} s") from None
    text = answer.decode("utf-8", "replace").strip()
    if process.returncode == 0:
        return text
    if _NOTHING_KEPT in text.lower():
        return '{"Username": "", "Secret": ""}'
    raise _HelperFailed(f"{program}: exit code {process.returncode}: {text[:200]}")


def _kept(config: Mapping[str, Any], registry: str) -> dict[str, str]:
    """Return the entry of `auths` for the registry."""
    entries = config.get("auths")
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, dict) and _registry(name) == registry:
            return _entry(name, entry)
    return {}


def _registry(name: str) -> str:
    host = name.removeprefix("http://").removeprefix("https://").partition("/")[0]
    return DEFAULT_REGISTRY if host == _INDEX_HOST else host


def _entry(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    if token := entry.get("identitytoken"):
        return {"identitytoken": str(token), "serveraddress": name}
    try:
        user, colon, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
    except (ValueError, TypeError):
        say_once(name, "Docker configuration: an entry of auths not read", registry=name)
        return {}
    if not user or not colon:
        return {}
    return {"username": user, "password": password.rstrip("\0"), "serveraddress": name}
