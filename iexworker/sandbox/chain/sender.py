"""Transactions of one account: signed here, numbered here, each receipt awaited when asked for."""

from __future__ import annotations

import threading
import time
from typing import Any

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception
from web3.types import TxReceipt

from iexworker.errors import SandboxError
from iexworker.sandbox.chain.reverts import refusal

RECEIPT_TIMEOUT_S = 60.0
RECEIPT_POLL_S = 0.05
ESTIMATE_MARGIN = 1.2
GAS_PRICE_WEI = 10**9
"""Of a chain whose gas is free; where blocks cost more, what the node suggests is paid."""


class Sender:
    """Sends from one account; may be used from several threads."""

    def __init__(self, web3: Web3, account: LocalAccount, chain_id: int) -> None:
        self.account = account
        self._web3 = web3
        self._chain_id = chain_id
        self._lock = threading.Lock()

    def run(
        self, to: str | None, data: bytes | str, *, value_wei: int = 0, gas: int | None = None
    ) -> TxReceipt:
        """Send and wait for the receipt; SandboxError when it reverts or does not come in time."""
        return self.wait(self.send(to, data, value_wei=value_wei, gas=gas))

    def send(
        self, to: str | None, data: bytes | str, *, value_wei: int = 0, gas: int | None = None
    ) -> HexBytes:
        """Send; the gas is estimated where it is not given, so that a certain revert shows here.

        Raises:
            Reverted: the estimate reverts.
            SandboxError: the node gives no estimate.

        """
        transaction: dict[str, Any] = {"value": value_wei, "data": data, "chainId": self._chain_id}
        if to is not None:
            transaction["to"] = to
        transaction["gas"] = self._estimate(transaction) if gas is None else gas
        transaction["gasPrice"] = max(GAS_PRICE_WEI, self._web3.eth.gas_price)
        with self._lock:
            transaction["nonce"] = self.next_nonce()
            signed = self.account.sign_transaction(transaction)
            return self._web3.eth.send_raw_transaction(signed.raw_transaction)

    def next_nonce(self) -> int:
        """Give the nonce after those that the node holds, mined or waiting."""
        return self._web3.eth.get_transaction_count(self.account.address, "pending")

    def wait(self, transaction_hash: HexBytes) -> TxReceipt:
        """Wait until a transaction is mined."""
        deadline = time.monotonic() + RECEIPT_TIMEOUT_S
        while (receipt := self._receipt(transaction_hash)) is None:
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"transaction {transaction_hash.to_0x_hex()} of {self.account.address} "
                    f"was not mined in {RECEIPT_TIMEOUT_S:g} s: is the chain of the sandbox alive?"
                )
            time.sleep(RECEIPT_POLL_S)
        if receipt["status"] != 1:
            raise SandboxError(
                f"transaction {transaction_hash.to_0x_hex()} of {self.account.address} reverted"
            )
        return receipt

    def _receipt(self, transaction_hash: HexBytes) -> TxReceipt | None:
        try:
            return self._web3.eth.get_transaction_receipt(transaction_hash)
        except TransactionNotFound:
            return None

    def _estimate(self, transaction: dict[str, Any]) -> int:
        try:
            asked: Any = {**transaction, "from": self.account.address}
            return int(self._web3.eth.estimate_gas(asked) * ESTIMATE_MARGIN)
        except Web3Exception as error:
            raise refusal(error) from error
