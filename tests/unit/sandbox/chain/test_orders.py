from __future__ import annotations

import pytest
from eth_account import Account

from iexworker.sandbox.chain.orders import Order, domain_separator

HUB = "0x" + "3e" * 20
OWNER = Account.from_key("0x" + "11" * 32)


def test_what_is_not_given_is_free_and_unrestricted() -> None:
    order = Order.make("AppOrder", app=HUB, volume=3)

    assert order.values["app"] == HUB
    assert order.values["volume"] == 3
    assert order.values["appprice"] == 0
    assert order.values["requesterrestrict"] == "0x" + "00" * 20
    assert order.values["tag"] == bytes(32)


def test_no_two_orders_share_a_salt() -> None:
    assert Order.make("AppOrder").values["salt"] != Order.make("AppOrder").values["salt"]


def test_a_field_that_the_kind_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match="AppOrder has no trust"):
        Order.make("AppOrder", trust=1)


def test_the_struct_has_the_fields_in_order_and_the_signature_last() -> None:
    signed = Order.make("DatasetOrder", dataset=HUB, datasetprice=7).sign(OWNER, 65535, HUB)

    struct = signed.as_struct()

    assert struct[:3] == (HUB, 7, 0)
    assert len(struct) == 9
    assert struct[-1] == signed.signature
    assert len(signed.signature) == 65


def test_a_signature_is_for_one_hub_on_one_chain() -> None:
    order = Order.make("RequestOrder", params="{}")

    digests = {
        order.sign(OWNER, chain, hub).digest for chain in (1, 2) for hub in (HUB, "0x" + "3f" * 20)
    }

    assert len(digests) == 4


def test_the_domain_separator_follows_the_hub_and_the_chain() -> None:
    assert len(domain_separator(65535, HUB)) == 32
    assert domain_separator(65535, HUB) != domain_separator(1, HUB)
