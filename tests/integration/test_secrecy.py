"""Marked secrets in every secret setting, looked for wherever somebody could read them."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
import requests
from eth_account import Account

from iexworker.control import SOCKET_NAME
from iexworker.errors import EXIT_REFUSED
from iexworker.sandbox.network.network import KEYSTORE_PASSWORD
from iexworker.settings.table import TABLE, listed_registry_entries, registry_entries
from tests.helpers.live_worker import LiveSandbox, LiveWorker, eventually

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("secrecy"),
]

PATHS = (
    *("/", "/metrics", "/version", "/nowhere", "/compute/pre/0x00/exit"),
    *(f"/actuator{rest}" for rest in ("", "/health", "/health/readiness", "/info", "/prometheus")),
    *("/actuator/env", "/actuator/configprops"),
)


class Marks:
    """Secrets that occur nowhere by chance."""

    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}

    def new(self, name: str) -> str:
        text = f"marked-{secrets.token_hex(12)}"
        self.texts[name] = text.encode()
        return text

    def found(self, place: str, data: bytes) -> list[str]:
        """Return which of them stand in the data, plain, hexadecimal or in base64."""
        return [
            f"{name} in {place}: {form!r}"
            for name, text in self.texts.items()
            for form in _forms(text)
            if form in data
        ]


def _forms(text: bytes) -> Iterator[bytes]:
    yield text
    yield text.hex().encode()
    yield text.hex().upper().encode()
    for shift in range(3):
        # Within a longer text (`user:password`) base64 may begin at any of three offsets; what the
        # neighbours of the secret decide is cut off.
        encoded = base64.b64encode(bytes(shift) + text)
        core = encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSandbox]:
    sandbox = LiveSandbox(tmp_path_factory.mktemp("network") / "net", "9")
    yield sandbox
    sandbox.close()


@pytest.fixture
def marks() -> Marks:
    return Marks()


@pytest.fixture
def wallet(sandbox: LiveSandbox, marks: Marks, tmp_path: Path) -> Mapping[str, str]:
    """Give the wallet a marked password; its key is a secret too."""
    keystore = json.loads(sandbox.network.keystore_path("worker1").read_text())
    key = bytes(Account.decrypt(keystore, KEYSTORE_PASSWORD))
    marks.texts["private key"] = key
    password = marks.new("wallet password")
    path = tmp_path / "wallet.json"
    path.write_text(json.dumps(Account.encrypt(key, password, kdf="scrypt", iterations=4096)))
    return {"IEXEC_WORKER_WALLET_PATH": str(path), "IEXEC_WORKER_WALLET_PASSWORD": password}


def _places(worker: LiveWorker) -> Iterator[tuple[str, bytes]]:
    """Yield all that can be read of a worker that runs."""
    yield "log", worker.log.read_bytes()
    parent = psutil.Process(worker.process.pid)
    for process in (parent, *parent.children(recursive=True)):
        for name in ("cmdline", "environ"):
            yield f"{name} of {process.name()}", Path(f"/proc/{process.pid}/{name}").read_bytes()
    for path in worker.root.rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes()
    for request in (b'{"verb": "status"}', b'{"verb": "secrets"}', b"nonsense"):
        yield "control socket", _asked(worker.root / SOCKET_NAME, request)
    for container in worker.sandbox.containers():
        yield "container", json.dumps(container.attrs).encode()
    report = worker.report()
    assert report is not None
    for path_ in PATHS:
        answer = requests.get(f"http://127.0.0.1:{report['facts']['http_port']}{path_}", timeout=10)
        yield path_, str(answer.headers).encode() + answer.content


def _asked(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as answer:
        client.connect(str(path))
        client.sendall(request + b"\n")
        return answer.read()


def _shown_settings(worker: LiveWorker) -> bytes:
    return subprocess.run(
        [sys.executable, "-m", "iexworker", "config"],
        env=worker.environment,
        capture_output=True,
        check=True,
    ).stdout


def _leaks(worker: LiveWorker, marks: Marks) -> list[str]:
    return [leak for place, data in _places(worker) for leak in marks.found(place, data)]


def test_no_secret_is_seen_anywhere_while_a_task_runs(
    sandbox: LiveSandbox, marks: Marks, wallet: Mapping[str, str]
) -> None:
    entries = (*TABLE, *registry_entries(0), *registry_entries(1), *registry_entries(2))
    passwords = {entry.shown_variable: entry for entry in entries if entry.secret}
    variables = {name: marks.new(name) for name in passwords} | dict(wallet)
    variables |= {
        "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0": "someone",
        "IEXEC_WORKER_DOCKER_REGISTRY_ADDRESS_1": sandbox.network.registry_address,
        "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_1": "someone",
        "IEXWORKER_DOCKER_REGISTRY_ADDRESS_2": "registry.example",
        "IEXWORKER_DOCKER_REGISTRY_USERNAME_2": "someone",
        "IEXEC_WORKER_SCONTAIN_REGISTRY_USERNAME": "someone",
        "IEXEC_LOG_LEVEL": "DEBUG",
        "MANAGEMENT_ENDPOINTS_WEB_EXPOSURE_INCLUDE": "*",
    }
    assert len(passwords) == 5
    worker = LiveWorker(sandbox, "worker1", slots=1, **variables).start()
    try:
        worker.ready()
        (task,) = sandbox.buy("sleep=3")
        eventually(lambda: sandbox.containers(task), "the app's container")
        assert _leaks(worker, marks) == []
        sandbox.completed(task)
        worker.at_rest()
        assert _leaks(worker, marks) == []
        assert marks.found("config", _shown_settings(worker)) == []
    finally:
        worker.stop()
    assert marks.found("log", worker.log.read_bytes()) == []
    assert "eyJ" not in worker.log.read_text()  # how each token of the scheduler begins


def test_no_secret_of_a_list_a_file_or_an_address_is_seen(
    sandbox: LiveSandbox, marks: Marks, wallet: Mapping[str, str], tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(wallet["IEXEC_WORKER_WALLET_PASSWORD"] + "\n")
    variables = {"IEXEC_WORKER_WALLET_PATH": wallet["IEXEC_WORKER_WALLET_PATH"]}
    variables |= {
        "IEXEC_WORKER_WALLET_PASSWORD": "",
        "IEXEC_WORKER_WALLET_PASSWORD_FILE": str(password),
    }
    for index in range(2):
        address, username, secret = (item.variable for item in listed_registry_entries(index))
        variables |= {address: f"registry{index}.example", username: "someone"}
        variables[secret] = marks.new(secret)
    worker = LiveWorker(sandbox, "worker1", slots=1, **variables).start()
    try:
        worker.ready()
        assert _leaks(worker, marks) == []
        assert marks.found("config", _shown_settings(worker)) == []
    finally:
        worker.stop()


def test_a_password_in_the_nodes_address_is_seen_in_the_environment_only(
    sandbox: LiveSandbox, marks: Marks, wallet: Mapping[str, str]
) -> None:
    port = sandbox.network.chain_port
    secret = marks.new("node address")
    address = f"http://someone:{secret}@127.0.0.1:{port}"
    variables = {**wallet, "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS": address}
    worker = LiveWorker(sandbox, "worker1", slots=1, **variables).start()
    try:
        worker.ready()
        seen = [leak for leak in _leaks(worker, marks) if " in environ of " not in leak]
        assert seen == []
    finally:
        worker.stop()


def test_a_password_that_does_not_open_the_wallet_is_not_told(
    sandbox: LiveSandbox, marks: Marks, wallet: Mapping[str, str]
) -> None:
    wrong = marks.new("wrong password")
    variables = {**wallet, "IEXEC_WORKER_WALLET_PASSWORD": wrong, "IEXEC_LOG_LEVEL": "DEBUG"}
    worker = LiveWorker(sandbox, "worker1", slots=1, **variables).start()
    assert worker.process.wait(60) == EXIT_REFUSED
    assert marks.found("log", worker.log.read_bytes()) == []
