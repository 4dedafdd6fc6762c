from __future__ import annotations

import pytest

from iexworker.compute.blame import Blame
from iexworker.compute.images import ImageReference
from iexworker.compute.pull import _without_names, blame_for

ABSENT = "manifest for org/app:1 not found: manifest unknown: manifest unknown"
DENIED = (
    "pull access denied for org/app, repository does not exist or may require 'docker login':"
    " denied: requested access to the resource is denied"
)


@pytest.mark.parametrize(
    "reason",
    [
        ABSENT,
        "manifest for 127.0.0.1:5000/app:9 not found: manifest unknown: manifest unknown",
        "repository name not known to registry",
        "invalid reference format",
        "no matching manifest for linux/amd64 in the manifest list entries",
        'image operating system "windows" cannot be used on this platform',
    ],
)
def test_an_image_that_does_not_exist_is_the_requesters_fault(reason: str) -> None:
    assert blame_for(reason, 404, with_credentials=False) is Blame.REQUESTER
    assert blame_for(reason, 0, with_credentials=True) is Blame.REQUESTER


@pytest.mark.parametrize(
    "reason",
    [
        DENIED,
        "unauthorized: authentication required",
        "Head https://h/v2/app/manifests/1: no basic auth credentials",
        "unexpected status code 403 Forbidden",
    ],
)
def test_an_image_that_is_denied_is_ours_once_we_have_credentials(reason: str) -> None:
    assert blame_for(reason, 404, with_credentials=False) is Blame.REQUESTER
    assert blame_for(reason, 404, with_credentials=True) is Blame.OURS


@pytest.mark.parametrize(
    "reason",
    [
        "toomanyrequests: You have reached your pull rate limit.",
        "received unexpected HTTP status: 429 Too Many Requests",
        "write /var/lib/docker/tmp/x: no space left on device",
        "proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused",
        "Get https://h/v2/: x509: certificate signed by unknown authority",
        "dial tcp: lookup h on 10.0.0.1:53: server misbehaving",
        "dial tcp: lookup h on 10.0.0.1:53: read udp 10.0.0.2:1->10.0.0.1:53: i/o timeout",
        "http: server gave HTTP response to HTTPS client",
        "something nobody has seen before",
    ],
)
def test_limits_disks_proxies_certificates_and_the_unknown_are_ours(reason: str) -> None:
    assert blame_for(reason, 500, with_credentials=False) is Blame.OURS


@pytest.mark.parametrize(
    "reason",
    [
        "dial tcp: lookup h on 10.0.0.1:53: no such host",
        "dial tcp 10.0.0.1:443: connect: connection refused",
        "read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer",
        "net/http: TLS handshake timeout",
        "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        "received unexpected HTTP status: 503 Service Unavailable",
        "unexpected EOF",
    ],
)
def test_a_host_that_does_not_serve_is_the_networks_fault(reason: str) -> None:
    assert blame_for(reason, 500, with_credentials=False) is Blame.NETWORK


def test_the_name_of_an_image_cannot_choose_the_blame() -> None:
    image = ImageReference.parse("denied.example.com:404/unauthorized:404")
    reason = (
        "Get https://denied.example.com:404/v2/unauthorized/manifests/404: dial tcp: lookup"
        " denied.example.com:404 on 10.0.0.1:53: no such host"
    )
    cleaned = _without_names(reason, image)
    assert "404" not in cleaned and "unauthorized" not in cleaned
    assert blame_for(cleaned, 500, with_credentials=False) is Blame.NETWORK
