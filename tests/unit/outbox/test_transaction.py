from __future__ import annotations

from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from iexworker.outbox.transaction import Draft, hash_of
from iexworker.poco.hashing import checksum_address
from tests.helpers.fake_chain import HUB, WALLET


@given(
    nonce=st.integers(0, 2**40),
    price=st.integers(0, 2**70),
    data=st.binary(max_size=300),
    chain_id=st.sampled_from([1, 134, 42161, 65535]),
)
def test_a_transaction_is_signed_as_eth_account_signs_it(
    nonce: int, price: int, data: bytes, chain_id: int
) -> None:
    signed = Account.sign_transaction(
        {
            "nonce": nonce,
            "gasPrice": price,
            "gas": 500_000,
            "to": checksum_address(HUB),
            "value": 0,
            "data": data,
            "chainId": chain_id,
        },
        WALLET.private_key,
    )
    raw = Draft(nonce, price, 500_000, HUB, data, chain_id).signed(WALLET)

    assert raw == bytes(signed.raw_transaction)
    assert hash_of(raw) == "0x" + bytes(signed.hash).hex()
