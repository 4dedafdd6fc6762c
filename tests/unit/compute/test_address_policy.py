from __future__ import annotations

import pytest

from iexworker.compute.address_policy import check_literal, is_public, resolve
from iexworker.compute.blame import Blame, Trouble


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.17.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_any_other_address_and_what_stands_for_one_is_not(address: str) -> None:
    assert not is_public(address)


def test_a_private_host_is_resolved_only_where_it_is_allowed() -> None:
    assert "127.0.0.1" in resolve("localhost", 80, private_allowed=True)
    with pytest.raises(Trouble, match="refused by policy") as caught:
        resolve("localhost", 80, private_allowed=False)
    assert caught.value.blame is Blame.OURS


def test_numbers_in_disguise_are_seen_through() -> None:
    for host in ("2130706433", "127.1", "0127.0.0.1"):
        with pytest.raises(Trouble, match="refused by policy"):
            resolve(host, 80, private_allowed=False)


def test_an_address_is_what_java_reads_as_one() -> None:
    assert resolve("0127.0.0.1", 80, private_allowed=True) == ["127.0.0.1"]
    assert resolve("127.65536", 80, private_allowed=True) == ["127.1.0.0"]
    for host in ("0x7f.1", "0x7f000001", "017700000001", "127.0.0.256"):
        with pytest.raises(Trouble) as caught:
            resolve(host, 80, private_allowed=True)
        assert caught.value.blame is not Blame.REQUESTER


def test_a_name_that_cannot_be_one_is_the_requesters_fault() -> None:
    with pytest.raises(Trouble) as caught:
        resolve("a" * 64 + ".example", 80, private_allowed=True)
    assert caught.value.blame is Blame.REQUESTER


def test_a_name_without_an_address_is_not_the_requesters_fault_yet() -> None:
    # Without a network the resolver does not answer at all, and that is ours.
    with pytest.raises(Trouble) as caught:
        resolve("does-not-exist.invalid", 80, private_allowed=True)
    assert caught.value.blame in (Blame.NETWORK, Blame.OURS)


def test_a_literal_is_checked_where_a_proxy_resolves() -> None:
    check_literal("example.org", private_allowed=False)
    check_literal("10.0.0.1", private_allowed=True)
    for host in ("10.0.0.1", "::1", "LOCALHOST", "x.localhost.", "127.1", "0x7f.1"):
        with pytest.raises(Trouble):
            check_literal(host, private_allowed=False)
