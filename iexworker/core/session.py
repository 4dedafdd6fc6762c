"""Getting acquainted with a scheduler: its terms, its generation, our registration.

Blocking calls, made from a thread. None of them retries: whoever calls knows what to do meanwhile.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from iexworker.core.client import SchedulerClient
from iexworker.core.login import Tokens
from iexworker.core.messages import PublicConfiguration, Registration
from iexworker.errors import SchedulerError
from iexworker.poco.models import ChainConfiguration, Profile

DEFAULT_VERSIONS = {Profile.V8: "8.5.0", Profile.V9: "9.2.0"}
"""The version shown to a scheduler that requires none."""
SUPPORTED_MAJORS = ("8", "9")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the scheduler said of itself."""

    configuration: PublicConfiguration
    chain: ChainConfiguration
    profile: Profile
    version: str
    """The version that we show."""
    refusal: str
    """Why we cannot work for it, empty when we can."""
    wrong_pool: str = ""
    """Why its tasks would all be refused: it serves another pool than the operator's."""


def compare_pool(configuration: PublicConfiguration, ours: str | None) -> str:
    """Say that the scheduler serves another pool than `POOL_ADDRESS` names, empty when not."""
    theirs = configuration.workerpool_address
    if not theirs or ours in (None, theirs):
        return ""
    return (
        f"POOL_ADDRESS={ours} is another workerpool than the scheduler's, {theirs}: correct one of "
        "POOL_ADDRESS and IEXEC_CORE_URL, or unset POOL_ADDRESS"
    )


def agree_version(
    configuration: PublicConfiguration, profile: Profile, reported: str | None
) -> tuple[str, str]:
    """Return the version to show, and why it does not do (empty when it does).

    A scheduler names the exact version it wants; by default that is what we show, as long as its
    major is one that we speak.
    """
    required = configuration.required_version.strip()
    if reported is not None:
        if required in ("", reported):
            return reported, ""
        return reported, (
            f"the scheduler requires worker version {required!r}, IEXWORKER_REPORTED_VERSION says "
            f"{reported!r}: unset it to follow the scheduler"
        )
    if not required:
        return DEFAULT_VERSIONS[profile], ""
    if required.partition(".")[0] in SUPPORTED_MAJORS:
        return required, ""
    return DEFAULT_VERSIONS[profile], (
        f"the scheduler requires worker version {required!r}; this worker speaks the protocol of "
        f"versions {' and '.join(SUPPORTED_MAJORS)}: install a newer iexworker"
    )


class Session:
    """One scheduler and our standing with it."""

    def __init__(
        self,
        client: SchedulerClient,
        tokens: Tokens,
        registration: Registration,
        *,
        profile: str,
        reported_version: str | None,
        pool_address: str | None = None,
    ) -> None:
        self._pool_address = pool_address
        self._client = client
        self._tokens = tokens
        self._registration = registration
        self._profile = profile
        self._reported_version = reported_version

    def meet(self) -> Terms:
        """Ask for the terms; raises `SchedulerError`."""
        configuration = self._client.config()
        if not configuration.config_server_url:
            raise SchedulerError(
                "the scheduler names no config server (configServerUrl is empty): "
                "its manager has to set one"
            )
        chain = self._client.chain_configuration(configuration.config_server_url)
        return self.terms(configuration, chain, self._detect(configuration))

    def terms(
        self, configuration: PublicConfiguration, chain: ChainConfiguration, profile: Profile
    ) -> Terms:
        """Judge the scheduler's documents, fresh ones or those of an earlier start."""
        version, refusal = agree_version(configuration, profile, self._reported_version)
        wrong_pool = compare_pool(configuration, self._pool_address)
        return Terms(configuration, chain, profile, version, refusal, wrong_pool)

    def join(self) -> str:
        """Log in and register; return the token. Raises `LoginRefused` or `SchedulerError`."""
        self._tokens.renew(self._tokens.current)
        self._tokens.with_token(lambda: self._client.register(self._registration))
        token = self._tokens.current
        if token is None:
            raise SchedulerError("login: no token after a login")
        log.info("registered", extra={"scheduler": self._client.base_url})
        return token

    def _detect(self, configuration: PublicConfiguration) -> Profile:
        if self._profile != "auto":
            return Profile(self._profile)
        return self._client.profile(configuration)
