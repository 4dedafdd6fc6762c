"""Sessions of requests that follow the one rule on proxies, authorities and logins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import requests

from iexworker import http_environment

_Given: TypeAlias = Any
"""Of the types that requests has for its own use."""


class EnvironmentSession(requests.Session):
    """Takes from the environment what `http_environment` says, and nothing else.

    Also the base of other libraries' sessions: what their constructors set does not change that.
    """

    @property
    def trust_env(self) -> bool:
        """False, always: requests would take `.netrc`, too."""
        return False

    @trust_env.setter
    def trust_env(self, value: bool) -> None:
        """Set nothing: requests does so when a session is made."""

    def merge_environment_settings(  # type: ignore[override]  # the names that the library uses
        self, url: str, proxies: _Given, stream: _Given, verify: _Given, cert: _Given
    ) -> dict[str, Any]:
        """Return what a request is sent with."""
        settings: dict[str, Any] = super().merge_environment_settings(  # type: ignore[assignment]
            url, proxies, stream, verify, cert
        )
        settings["proxies"] = proxies_of(url)
        if settings["verify"] in (True, None):
            settings["verify"] = http_environment.authorities() or True
        return settings

    def rebuild_proxies(
        self, prepared_request: requests.PreparedRequest, proxies: object
    ) -> dict[str, str]:
        """Return the proxies for where a redirect leads."""
        found = proxies_of(prepared_request.url or "")
        return dict(super().rebuild_proxies(prepared_request, found))  # type: ignore[no-untyped-call]


def proxies_of(url: str) -> Mapping[str, str]:
    """Return the proxy of a URL as requests takes it."""
    proxy = http_environment.proxy_of_url(url)
    return {} if proxy is None else {url.partition(":")[0].lower(): proxy.url}
