"""Keystore files of other people's wallets: opened as web3j opens them, or refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from iexworker import wallet as wallets
from iexworker.errors import EXIT_REFUSED, WalletError

VECTORS = Path(__file__).parents[1] / "vectors" / "field-keystores.json"
CASES: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))["cases"]
OPENED = [case for case in CASES if "address" in case["expected"]]
REFUSED = [case for case in CASES if "error" in case["expected"]]


def opened(case: dict[str, Any], folder: Path) -> wallets.Wallet:
    given = case["input"]
    path = folder / "wallet.json"
    path.write_bytes(given["text"].encode(given.get("encoding", "utf-8")))
    return wallets.load(path, given["password"])


@pytest.mark.parametrize("case", OPENED, ids=lambda case: case["name"])
def test_a_keystore_opens_to_the_address_that_web3j_gives(case: Any, tmp_path: Path) -> None:
    wallet = opened(case, tmp_path)

    assert wallet.address == case["expected"]["address"]
    assert len(wallet.private_key) == 32


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["name"])
def test_a_keystore_that_web3j_does_not_open_is_refused_in_one_line(
    case: Any, tmp_path: Path
) -> None:
    with pytest.raises(WalletError, match=rf"^wallet {tmp_path}[^\n]*$") as caught:
        opened(case, tmp_path)

    assert caught.value.exit_code == EXIT_REFUSED
    assert not any(name in str(caught.value) for name in ("Error:", "Exception", "('"))


@pytest.mark.parametrize("declared", ["11" * 20, "0x" + "11" * 20, "0x" + "aB" * 20])
def test_a_keystore_that_declares_another_address_than_its_keys_is_refused_with_both(
    declared: str, tmp_path: Path
) -> None:
    case = OPENED[0]
    document = json.loads(case["input"]["text"]) | {"address": declared}
    changed = {"input": case["input"] | {"text": json.dumps(document)}}

    with pytest.raises(WalletError) as caught:
        opened(changed, tmp_path)

    assert caught.value.exit_code == EXIT_REFUSED
    assert case["expected"]["address"] in str(caught.value)
    assert "0x" + declared.lower().removeprefix("0x") in str(caught.value)


@pytest.mark.parametrize("declared", [None, "", "0x", "0x12", "not an address", 7])
def test_what_is_no_address_declares_none(declared: object, tmp_path: Path) -> None:
    case = OPENED[0]
    document = json.loads(case["input"]["text"]) | {"address": declared}
    changed = {"input": case["input"] | {"text": json.dumps(document)}}

    assert opened(changed, tmp_path).address == case["expected"]["address"]


def test_a_file_that_is_nested_without_end_is_no_keystore(tmp_path: Path) -> None:
    changed = {"input": {"text": "[" * 100_000, "password": "x"}}

    with pytest.raises(WalletError, match="is not JSON"):
        opened(changed, tmp_path)
