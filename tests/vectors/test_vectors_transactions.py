from __future__ import annotations

from dataclasses import asdict

import pytest

from iexworker.outbox import gas
from iexworker.outbox.gas import PriceRule
from iexworker.outbox.transaction import Draft, hash_of
from iexworker.poco import abi, receipts
from iexworker.poco.models import ActionKind
from iexworker.wallet import Wallet
from tests.vectors.helpers.loader import Case, cases


@pytest.mark.parametrize("case", cases("chain-calldata"))
def test_calldata_is_what_upstream_sends(case: Case) -> None:
    data = abi.calldata(case.input["function"], *case.input["arguments"])

    assert "0x" + data.hex() == case.expected


@pytest.mark.parametrize("case", cases("chain-gas-limit"))
def test_gas_limits_are_upstream_s_for_what_a_worker_sends(case: Case) -> None:
    profile = {"8.5": "8", "9.x": "9"}[case.input["profile"]]
    if isinstance(case.expected, int):
        given = case.input["estimate"], case.input["callbackgas"]
        assert gas.finalize_gas(profile, *given) == case.expected
        return
    # The other functions of the table are the scheduler's.
    assert case.expected["contribute"] == gas.CONTRIBUTE_GAS
    assert case.expected["reveal"] == gas.REVEAL_GAS
    if profile == "8":
        assert gas.finalize_gas(profile, 100_000, 200_000) == case.expected["contributeAndFinalize"]


@pytest.mark.parametrize("case", cases("chain-gas-price"))
def test_the_gas_price_is_the_network_s_times_the_multiplier_up_to_the_cap(case: Case) -> None:
    rule = PriceRule(case.input["multiplier"], case.input["cap"])

    assert rule.price_wei(case.input["networkGasPrice"]) == case.expected


@pytest.mark.parametrize("case", cases("chain-enough-gas"))
def test_the_balance_is_counted_in_transactions_at_the_cap(case: Case) -> None:
    found = gas.reserve(
        case.input["balance"], case.input["gasPriceCap"], sidechain=case.input["sidechain"]
    )

    assert {key: value for key, value in asdict(found).items() if value is not None} == (
        case.expected
    )


@pytest.mark.parametrize("case", cases("chain-raw-transaction"))
def test_a_legacy_transaction_is_signed_as_web3j_signs_it(case: Case) -> None:
    given = case.input
    draft = Draft(
        nonce=given["nonce"],
        gas_price_wei=given["gasPrice"],
        gas_limit=given["gasLimit"],
        to=given["to"],
        data=bytes.fromhex(given["data"][2:]),
        chain_id=given["chainId"],
    )
    raw = draft.signed(Wallet(bytes.fromhex(given["privateKey"][2:])))

    assert {"raw": "0x" + raw.hex(), "hash": hash_of(raw)} == case.expected


@pytest.mark.parametrize("case", cases("chain-receipt"))
def test_a_receipt_proves_an_action_by_its_event(case: Case) -> None:
    given = case.input
    receipt = receipts.parse(
        {
            "transactionHash": "0x" + "5a" * 32,
            "blockNumber": "0x2a",
            "gasUsed": "0x0",
            "status": given["status"],
            "logs": given["logs"],
        }
    )
    assert receipt is not None
    proof = receipts.confirmation(
        receipt,
        ActionKind(given["function"]),
        given["chainTaskId"],
        given["workerWallet"],
        given["latestBlock"],
    )
    found = None if proof is None else {"blockNumber": proof.block_number, "txHash": proof.tx_hash}

    assert found == case.expected
