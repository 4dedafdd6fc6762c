"""Keys and keystores of the sandbox's accounts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from iexworker.sandbox.roles import MNEMONIC, ROLES

SCRYPT_N = 4096
"""A light cost, so that a development keystore opens in milliseconds."""


def derive() -> dict[str, LocalAccount]:
    """Derive every role's account from the mnemonic."""
    Account.enable_unaudited_hdwallet_features()
    return {
        role: Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
        for index, role in enumerate(ROLES)
    }


def write_keystores(accounts: Mapping[str, LocalAccount], folder: Path, password: str) -> None:
    """Write each account's version-3 keystore as `ROLE.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for role, account in accounts.items():
        keystore = Account.encrypt(account.key, password, kdf="scrypt", iterations=SCRYPT_N)
        keystore["address"] = keystore["address"].lower()  # as other wallets write it
        path = folder / f"{role}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(keystore), encoding="utf-8")
