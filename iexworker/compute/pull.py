"""Pull an image, and tell from the engine's words whose fault a failure is."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from iexworker.compute import registry_auth
from iexworker.compute.blame import Blame, Trouble
from iexworker.compute.cancellation import Cancellation, in_background
from iexworker.compute.engine import Engine, EngineRefused
from iexworker.compute.images import DEFAULT_REGISTRY, ImageReference, credentials_for
from iexworker.errors import DockerError

if TYPE_CHECKING:
    from iexworker.settings.model import RegistryCredentials

log = logging.getLogger(__name__)

_OURS = re.compile(
    r"toomanyrequests|too many requests|\b429\b|rate.?limit|\b407\b|proxyconnect|proxy authentic"
    r"|no space left|disk quota|read-only file system|x509|certificate|server misbehaving"
    r"|lookup \S+( on \S+)?: (read|write|dial) udp|temporary failure in name resolution",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"access denied|denied:|access forbidden|unauthorized|authentication required"
    r"|no basic auth credentials|\b40[13]\b|may require",
    re.IGNORECASE,
)
_ABSENT = re.compile(
    r"manifest unknown|manifest for .* not found|repository does not exist|name unknown"
    r"|repository name not known|invalid reference format|repository name must be|: not found$"
    r"|\b404\b|\b410\b|tag does not exist|no matching manifest"
    r"|cannot be used on this platform|operating system is not supported",
    re.IGNORECASE,
)
_LOGIN = "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_*"
_IS_IT_RIGHT = f"is the login right ({_LOGIN}, IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_*)?"
_NO_LOGIN = f"it may want a login: {_LOGIN}"
_REMEDIES = (
    (
        re.compile("HTTP response to HTTPS client"),
        "it speaks plain HTTP: list {registry} in insecure-registries of the engine's daemon.json",
    ),
    (
        re.compile(r"malformed HTTP response .*x15.?x03|HTTP request to an HTTPS server"),
        "it wants TLS: take {registry} out of insecure-registries of the engine's daemon.json",
    ),
    (
        re.compile("x509|certificate"),
        "the engine does not trust it: put its authority into "
        "/etc/docker/certs.d/{registry}/ca.crt",
    ),
    (
        re.compile(r"toomanyrequests|too many requests|rate.?limit|\b429\b", re.IGNORECASE),
        f"set a login for it: {_LOGIN}",
    ),
    (
        re.compile(r"proxyconnect|\b407\b|proxy authentic", re.IGNORECASE),
        "see the proxy of the Docker engine, not the worker's",
    ),
    (
        re.compile("no such host|server misbehaving|name resolution"),
        "see the DNS of the engine's machine, and the image's name",
    ),
    (re.compile("no space left|disk quota"), "make room for the engine: docker system prune"),
)
"""What to do, by the engine's words on a registry."""
_NETWORK = re.compile(
    r"no such host|connection refused|connection reset|timeout|timed out|deadline exceeded"
    r"|\bEOF\b|unreachable|no route to host|\b50[0-9]\b|broken pipe",
    re.IGNORECASE,
)


def pull(
    engine: Engine,
    reference: ImageReference,
    registries: Iterable[RegistryCredentials],
    timeout_s: float,
    cancellation: Cancellation,
) -> None:
    """Pull the image; raises `Trouble`, `DockerError` when the engine fails, or `Cancelled`."""
    credentials = credentials_for(registries, reference.registry)
    attempt = _Attempt(reference, credentials)
    address = engine.address

    def work() -> None:
        # Its own client: this thread may outlive the wait for it.
        own = Engine(address)
        try:
            attempt.pull(own)
        finally:
            own.close()

    try:
        in_background(work, cancellation, timeout_s)
    except TimeoutError:
        # A slow line is ours, and peers may have a faster one.
        raise Trouble(Blame.OURS, f"image not pulled within {timeout_s:.0f} s") from None
    except EngineRefused as error:
        reason = _without_names(error.reason, reference)
        blame = blame_for(reason, error.status, with_credentials=attempt.with_credentials)
        raise Trouble(blame, _said(reference, credentials, error.reason)) from None
    finally:
        attempt.given_up.set()


class _Attempt:
    """One pull: with the credentials of our settings, else with those of Docker's configuration."""

    def __init__(self, reference: ImageReference, credentials: RegistryCredentials | None) -> None:
        self.given_up = threading.Event()
        self.with_credentials = credentials is not None
        """Whether a denial may be for our credentials; known when the pull is over."""
        self._reference = reference
        self._credentials = credentials

    def pull(self, engine: Engine) -> None:
        """Pull; raises `EngineRefused` or `DockerError`."""
        given = None if self._credentials is None else _login(engine, self._credentials)
        found = {} if given else registry_auth.find(self._reference.registry)
        try:
            self._pull(engine, given or found)
        except EngineRefused as error:
            if not found or not _DENIED.search(error.reason):
                raise
            # A stale entry must not keep us from an image that is anybody's.
            self.with_credentials = True
            registry_auth.say_once(
                f"credentials for {self._reference.registry}",
                "registry refuses the credentials of the Docker configuration, pulling without",
                registry=self._reference.registry,
                error=error.reason,
            )
            self._pull(engine, {})

    def _pull(self, engine: Engine, authorization: Mapping[str, str]) -> None:
        reference = self._reference
        with engine.asking("pull", f"{reference.repository}:{reference.tag}"):
            events = engine.client.pull(
                reference.repository,
                tag=reference.tag,
                auth_config=dict(authorization),
                stream=True,
                decode=True,
            )
            for event in events:
                if self.given_up.is_set():
                    return  # the engine ends a pull whose client is gone
                if "error" in event:
                    raise EngineRefused("pull", 0, _words(event))


def _without_names(reason: str, reference: ImageReference) -> str:
    """Take the requester's own words out, so that an image's name cannot choose the blame."""
    path = reference.repository.removeprefix(reference.registry).strip("/")
    for name in (reference.repository, path, reference.registry):
        reason = reason.replace(name, "*")
    for before in (":", "manifests/"):
        reason = reason.replace(before + reference.tag, before + "*")
    return reason


def _words(event: Mapping[str, Any]) -> str:
    detail = event.get("errorDetail")
    message = detail.get("message") if isinstance(detail, dict) else None
    return str(message or event["error"])


def _login(engine: Engine, credentials: RegistryCredentials) -> dict[str, str] | None:
    """Return what the pull sends when the registry takes it; else pull without, as upstream."""
    registry = None if credentials.address == DEFAULT_REGISTRY else credentials.address
    given = {"username": credentials.username, "password": credentials.password}
    try:
        with engine.asking("login", credentials.address):
            engine.client.login(**given, registry=registry, reauth=True)
    except DockerError as error:
        log.error(
            "registry login refused, pulling without",
            extra={"error": _login_said(credentials, error)},
        )
        return None
    return given


def _said(reference: ImageReference, credentials: RegistryCredentials | None, reason: str) -> str:
    """Return the engine's words on a pull in the shape of all peers."""
    name = reference.registry
    login = f" ({_LOGIN})" if credentials else ""
    todo = next((todo for words, todo in _REMEDIES if words.search(reason)), "")
    if not todo and _DENIED.search(reason):
        todo = _IS_IT_RIGHT if credentials else _NO_LOGIN
    tried = f"pull {reference.repository}:{reference.tag}"
    said = f"image registry {name}{login}: {tried}: {' '.join(reason.split())}"
    return f"{said}; {todo.format(registry=name)}" if todo else said


def _login_said(credentials: RegistryCredentials, error: DockerError) -> str:
    reason = error.reason if isinstance(error, EngineRefused) else str(error)
    name = credentials.address
    return f"image registry {name} ({_LOGIN}): login: {reason}; {_IS_IT_RIGHT}"


def blame_for(reason: str, status: int, *, with_credentials: bool) -> Blame:
    """Return whose fault a refused pull is.

    `status` is the engine's own HTTP status, 0 when the error came within the pull. What cannot
    be told is ours: it costs a task, and no stake.
    """
    if _OURS.search(reason):
        return Blame.OURS
    if _DENIED.search(reason):
        return Blame.OURS if with_credentials else Blame.REQUESTER
    if _NETWORK.search(reason):
        return Blame.NETWORK
    if _ABSENT.search(reason) or status in (400, 404):
        return Blame.REQUESTER
    return Blame.OURS
