from __future__ import annotations

import pytest

from iexworker.compute.inputs import gateway_urls, is_content_address

V0 = "QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ"


@pytest.mark.parametrize(
    "location",
    [
        f"/ipfs/{V0}",
        f"/p2p/{V0}",
        "/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
        "/ipfs/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
        "/ipfs/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",
    ],
)
def test_a_hash_under_ipfs_is_a_content_address(location: str) -> None:
    assert is_content_address(location)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/ipfs/",
        V0,
        f"ipfs/{V0}",
        f"/ipfs/{V0}/file",
        "/ipfs/Qm0",
        "/p2p/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
        "https://gateway.ipfs.io/ipfs/" + V0,
        "/ip4/127.0.0.1",
        f"/ipfs/{V0}?x",
    ],
)
def test_anything_else_is_a_plain_location(location: str) -> None:
    assert not is_content_address(location)


def test_gateways_are_asked_in_their_order() -> None:
    assert gateway_urls(f"/ipfs/{V0}", ("https://a", "https://b/")) == (
        f"https://a/ipfs/{V0}",
        f"https://b/ipfs/{V0}",
    )
