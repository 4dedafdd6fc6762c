"""A wallet that speaks to an Arbitrum-shaped node, and small contracts for it."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import HexStr

from iexworker.sandbox.arbitrum.node import CONTROL_PATH, ArbitrumNode
from iexworker.sandbox.network.network import CHAIN_ID

WRITER = "0x" + "11" * 20
LOGGER = "0x" + "22" * 20
REVERTER = "0x" + "33" * 20
CODES = {
    WRITER: "0x6001435500",  # writes a slot that no block wrote before: 43,106 gas
    LOGGER: "0x60006000a000",
    REVERTER: "0x600160005260206000fd",  # reverts with 32 bytes
}
PRICE_WEI = 10**9


@dataclass
class HttpAnswer:
    status: int
    headers: dict[str, str]
    json: Any


class RpcProblem(Exception):
    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.data = error.get("data")


class Client:
    """Asks the node as a worker does, and signs by itself."""

    def __init__(self, node: ArbitrumNode) -> None:
        self.node = node
        self.account: LocalAccount = Account.create()
        self.address: str = self.account.address.lower()
        node.upstream.ask("anvil_setBalance", self.address, hex(10**18))
        for address, code in CODES.items():
            node.upstream.ask("anvil_setCode", address, code)

    def post(self, body: Any, path: str = "/", timeout_s: float = 20) -> HttpAnswer:
        parts = urlsplit(self.node.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return HttpAnswer(answer.status, headers, json.loads(answer.read()))
        finally:
            connection.close()

    def ask(self, method: str, *parameters: Any) -> Any:
        answer = self.post(request(method, *parameters)).json
        if "error" in answer:
            raise RpcProblem(answer["error"])
        return answer["result"]

    def switch(self, *words: str) -> str:
        answer = self.post(list(words), CONTROL_PATH)
        assert answer.status == 200, answer.json
        return str(answer.json["said"])

    def sign(
        self, nonce: int, to: str = WRITER, gas: int = 100_000, price_wei: int = PRICE_WEI
    ) -> tuple[str, str]:
        """Return the raw transaction and its hash."""
        signed = self.account.sign_transaction(
            {
                "nonce": nonce,
                "to": HexStr(to),
                "gas": gas,
                "gasPrice": price_wei,
                "value": 0,
                "data": b"",
                "chainId": CHAIN_ID,
            }
        )
        return signed.raw_transaction.to_0x_hex(), signed.hash.to_0x_hex()

    def send(self, nonce: int, to: str = WRITER, **wanted: int) -> dict[str, Any]:
        """Send and return the receipt."""
        raw, tx_hash = self.sign(nonce, to, **wanted)
        assert self.ask("eth_sendRawTransaction", raw) == tx_hash
        receipt: dict[str, Any] = self.ask("eth_getTransactionReceipt", tx_hash)
        return receipt

    def head(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("eth_getBlockByNumber", "latest", False)
        return found

    def number(self) -> int:
        return int(self.ask("eth_blockNumber"), 16)

    def nonce(self, tag: str = "latest") -> int:
        return int(self.ask("eth_getTransactionCount", self.address, tag), 16)


def request(method: str, *parameters: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(parameters)}
