"""The ten accounts of a sandbox, by role: public development keys, never to be given value.

The workers of a network have other keys (worker_wallets.py).

eth_account is imported where a key is made: whoever needs the roles alone starts 0.4 s sooner.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

MNEMONIC = "test test test test test test test test test test test junk"
"""The one that every local node of this kind knows."""

ROLES = (
    "admin",  # deploys and owns the contracts
    "requester",
    "appOwner",
    "datasetOwner",
    "scheduler",  # owns the workerpool
    "worker1",
    "worker2",
    "worker3",
    "worker4",
    "beneficiary",
)
"""A role's place in the list is its index in `m/44'/60'/0'/0/INDEX`."""

STAKED_ROLES = ("requester", "scheduler", "worker1", "worker2", "worker3", "worker4")

SCRYPT_N = 4096
"""A light cost, so that a development keystore opens in milliseconds."""


def derive() -> dict[str, LocalAccount]:
    """Derive every role's account from the mnemonic."""
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    return {
        role: Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
        for index, role in enumerate(ROLES)
    }


def write_keystores(accounts: Mapping[str, LocalAccount], folder: Path, password: str) -> None:
    """Write each account's version-3 keystore as `ROLE.json`."""
    from eth_account import Account

    folder.mkdir(parents=True, exist_ok=True)
    for role, account in accounts.items():
        keystore = Account.encrypt(account.key, password, kdf="scrypt", iterations=SCRYPT_N)
        keystore["address"] = keystore["address"].lower()  # as other wallets write it
        path = folder / f"{role}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(keystore), encoding="utf-8")
