"""A worker by hand, in straight lines: what docs/spec/03 says on the wire, nothing of ours.

It computes nothing: the result is a text that the test gives.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import queue
import threading
import uuid
import zipfile
from typing import Any

import requests
from eth_account import Account
from eth_account.messages import encode_defunct
from web3 import Web3

from iexworker.sandbox.chain.chain import LocalChain

ZERO = "0x" + "00" * 20
PATIENCE_S = 30
PING_S = 0.5


def lenient(text: str) -> bytes:
    """Read a text as hex as web3j does (05, 6.1)."""
    digits = text.removeprefix("0x")
    values = [int(one, 16) if one in "0123456789abcdefABCDEF" else -1 for one in digits]
    head = [values.pop(0)] if len(values) % 2 else []
    pairs = (16 * a + b for a, b in zip(values[::2], values[1::2], strict=True))
    return bytes(one % 256 for one in (*head, *pairs))


class MinimalWorker:
    """One wallet against one scheduler."""

    def __init__(self, chain: LocalChain, role: str, url: str) -> None:
        self.chain, self.role, self.url = chain, role, url
        self.account = chain.accounts[role]
        self.wallet = self.account.address.lower()
        self.http = requests.Session()
        self.http.headers["Content-Type"] = "application/json"
        self.pushed: queue.Queue[dict[str, Any]] = queue.Queue()
        self._session = f"{url}/connect/001/{uuid.uuid4().hex}"
        self._connected = threading.Event()
        self._subscriptions = 0
        self._gone = threading.Event()
        self._silent = threading.Event()
        self.heartbeats = 0

    def login(self) -> None:
        where = {"walletAddress": self.wallet}
        challenge = self.http.get(f"{self.url}/workers/challenge", params=where).text
        signed = Account.unsafe_sign_hash(Web3.keccak(lenient(challenge)), self.account.key)
        body = {"value": "0x" + signed.signature.hex()}
        answer = self.http.post(f"{self.url}/workers/login", params=where, json=body)
        answer.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.text}"

    def register(self, slots: int = 1, **more: object) -> dict[str, Any]:
        body = {
            "name": self.role,
            "walletAddress": self.wallet,
            "os": "Linux",
            "cpu": "amd64",
            "cpuNb": slots,
            "memorySize": 1,
            "teeEnabled": False,
            "gpuEnabled": False,
        } | more
        answer: dict[str, Any] = self.http.post(f"{self.url}/workers/register", json=body).json()
        return answer

    def ping(self) -> requests.Response:
        return self.http.post(f"{self.url}/workers/ping")

    def computing(self) -> list[str]:
        found: list[str] = self.http.get(f"{self.url}/workers/computing").json()
        return found

    def stop_pinging(self) -> None:
        self._silent.set()

    def leave(self) -> None:
        """Ping no more and let the stream go at its next line."""
        self._silent.set()
        self._gone.set()

    def _ping_on(self) -> None:
        while not self._silent.wait(PING_S):
            with contextlib.suppress(requests.RequestException):
                headers = {"Authorization": str(self.http.headers["Authorization"])}
                requests.post(f"{self.url}/workers/ping", headers=headers, timeout=5)

    def ask(self) -> requests.Response:
        block = {"blockNumber": self.chain.web3.eth.block_number}
        return self.http.get(f"{self.url}/replicates/available", params=block)

    def ask_until_granted(self) -> dict[str, Any]:
        """Ask every 0.2 s; the test's network allows it."""
        for _ in range(PATIENCE_S * 5):
            answer = self.ask()
            if answer.status_code == 200:
                grant: dict[str, Any] = answer.json()
                return grant
            self._gone.wait(0.2)
        raise AssertionError("no task came")

    def interrupted(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.interrupted_answer().json()
        return found

    def interrupted_answer(self) -> requests.Response:
        block = {"blockNumber": self.chain.web3.eth.block_number}
        return self.http.get(f"{self.url}/replicates/interrupted", params=block)

    # --- notifications ---

    def listen(self) -> None:
        threading.Thread(target=self._receive, daemon=True).start()
        if "Authorization" in self.http.headers:
            threading.Thread(target=self._ping_on, daemon=True).start()
        self.send("CONNECT\naccept-version:1.1,1.2\nheart-beat:10000,10000\n\n\0")
        assert self._connected.wait(PATIENCE_S)

    def send(self, frame: str) -> requests.Response:
        for _ in range(100):
            answer = requests.post(
                f"{self._session}/xhr_send", data=json.dumps([frame]), timeout=10
            )
            if answer.status_code == 204:
                return answer
            threading.Event().wait(0.05)
        raise AssertionError(f"xhr_send: {answer.status_code}")

    def subscribe(self, task: str) -> None:
        frame = f"SUBSCRIBE\nid:{self._subscriptions}\ndestination:/topic/task/{task}\n\n\0"
        self._subscriptions += 1
        self.send(frame)

    def _receive(self) -> None:
        while not self._gone.is_set():
            try:
                with requests.post(
                    f"{self._session}/xhr_streaming", stream=True, timeout=20
                ) as answer:
                    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                        self._take(line)
                        if self._gone.is_set():
                            return
            except requests.RequestException:
                return

    def _take(self, line: str) -> None:
        self.heartbeats += line == "h"
        if not line.startswith("a"):
            return
        for frame in json.loads(line[1:]):
            if frame.startswith("CONNECTED"):
                self._connected.set()
            elif frame.startswith("MESSAGE"):
                self.pushed.put(json.loads(frame.partition("\n\n")[2].rstrip("\0")))

    def await_push(self, kind: str, skip: tuple[str, ...] = ()) -> dict[str, Any]:
        message = self.pushed.get(timeout=PATIENCE_S)
        while message["taskNotificationType"] in skip:
            message = self.pushed.get(timeout=PATIENCE_S)
        assert message["taskNotificationType"] == kind, message
        return message

    # --- statuses and transactions ---

    def update(self, task: str, status: str, **details: object) -> requests.Response:
        body = {
            "status": status,
            "modifier": None,
            "date": None,
            "details": details or None,
            "success": True,
        }
        return self.http.post(f"{self.url}/replicates/{task}/updateStatus", json=body, timeout=120)

    def update_in_service(self, task: str, status: str) -> requests.Response:
        """Send a status again while the scheduler has no chain (503)."""
        for _ in range(PATIENCE_S * 5):
            answer = self.update(task, status)
            if answer.status_code != 503:
                return answer
            self._gone.wait(0.2)
        raise AssertionError("out of service")

    def tell(self, task: str, *statuses: str) -> str:
        """Send statuses that must be accepted; return the last answer."""
        for status in statuses:
            answer = self.update(task, status)
            assert answer.status_code == 200, (status, answer.status_code, answer.text)
        return str(answer.json())

    def contribute(self, grant: dict[str, Any], result: bytes) -> dict[str, object]:
        return self.contribute_digest(grant, hashlib.sha256(result).digest())

    def contribute_digest(self, grant: dict[str, Any], digest: bytes) -> dict[str, object]:
        task = bytes.fromhex(grant["chainTaskId"][2:])
        wallet = bytes.fromhex(self.wallet[2:])
        receipt = self.chain.send(
            self.role,
            "contribute",
            task,
            Web3.keccak(task + digest),
            Web3.keccak(wallet + task + digest),
            ZERO,
            bytes(32),
            bytes.fromhex(grant["signature"]["value"][2:]),
            gas=500_000,
        )
        return _receipt(receipt)

    def reveal(self, task: str, result: bytes) -> dict[str, object]:
        return self.reveal_digest(task, hashlib.sha256(result).digest())

    def reveal_digest(self, task: str, digest: bytes) -> dict[str, object]:
        receipt = self.chain.send(self.role, "reveal", bytes.fromhex(task[2:]), digest, gas=100_000)
        return _receipt(receipt)

    def token(self, proxy: str, grant: dict[str, Any]) -> requests.Response:
        texts = (grant["workerWallet"], grant["chainTaskId"], grant["enclaveChallenge"])
        digest = Web3.keccak(b"".join(bytes.fromhex(one[2:]) for one in texts))
        signed = self.account.sign_message(encode_defunct(digest))
        header = {"Authorization": "0x" + signed.signature.hex()}
        return requests.post(f"{proxy}/v1/results/token", json=grant, headers=header, timeout=10)

    def upload(self, proxy: str, grant: dict[str, Any], result: bytes) -> requests.Response:
        token = self.token(proxy, grant).text
        body = {
            "chainTaskId": grant["chainTaskId"],
            "zip": base64.b64encode(archive(result)).decode(),
            "deterministHash": "",
            "enclaveSignature": "0x" + "00" * 65,
        }
        return requests.post(
            f"{proxy}/v1/results", json=body, headers={"Authorization": token}, timeout=10
        )


def archive(result: bytes) -> bytes:
    """Zip a result with its computed.json, as the worker does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("result.txt", result)
        files.writestr("computed.json", '{"deterministic-output-path": "/iexec_out/result.txt"}')
    return buffer.getvalue()


def _receipt(receipt: Any) -> dict[str, object]:
    return {
        "blockNumber": receipt["blockNumber"],
        "txHash": receipt["transactionHash"].to_0x_hex(),
    }
