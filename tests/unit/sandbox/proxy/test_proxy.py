"""docs/spec/09, 2: tokens and uploads, each check in its order; what is kept between two starts."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey

from iexworker.poco.hashing import keccak
from iexworker.sandbox.endpoint import Request, Response
from iexworker.sandbox.proxy.ipfs import Store, content_name
from iexworker.sandbox.proxy.proxy import ResultProxy
from iexworker.sandbox.proxy.routes import config_routes, proxy_routes
from iexworker.sandbox.scheduler.interfaces import ChainTaskStatus
from iexworker.sandbox.scheduler.models import ZERO_ADDRESS, Deal, Profile
from tests.helpers.sandbox_pool import NOW_S, FakeClock, PoolChain, chain_task, task_of

DEAL = Deal("0x" + "de" * 32, 1, "0x0", "DOCKER", "app", "", ZERO_ADDRESS, 300_000, NOW_S, 0, 1)
TASK = task_of(DEAL.deal_id)
WORKER = PrivateKey(b"\1" * 32)
OWNER = PrivateKey(b"\2" * 32)
RESULT = b"hello\n"


def address(key: PrivateKey) -> str:
    return "0x" + keccak(key.public_key.format(compressed=False)[1:])[12:].hex()


def personal_sign(key: PrivateKey, *parts: str) -> str:
    digest = keccak(*(bytes.fromhex(part[2:]) for part in parts))
    prefixed = keccak(b"\x19Ethereum Signed Message:\n32", digest)
    signature = key.sign_recoverable(prefixed, hasher=None)
    return "0x" + (signature[:64] + bytes([27 + signature[64]])).hex()


def archive(result: bytes = RESULT) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as files:
        # Entries without the time of now, so that the same result is the same archive.
        files.writestr(zipfile.ZipInfo("result.txt"), result)
        computed = '{"deterministic-output-path": "/iexec_out/result.txt"}'
        files.writestr(zipfile.ZipInfo("computed.json"), computed)
    return buffer.getvalue()


class Bench:
    """A proxy and what stands around it."""

    def __init__(self, folder: Path, profile: str = "9") -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.chain = PoolChain(self.clock)
        self.chain.owner = address(OWNER)
        self.chain.deals = [(1, DEAL)]
        self.chain.tasks[TASK] = chain_task(DEAL.deal_id)
        self.profile = Profile(profile)
        self.start()

    def start(self) -> None:
        store, path = Store(self.folder / "store"), self.folder / "proxy.sqlite"
        self.proxy = ResultProxy(self.profile, self.clock, self.chain, store, path)
        self.routes = proxy_routes(self.proxy, self.profile)

    def authorization(self, **fields: object) -> dict[str, Any]:
        texts = {
            "chainTaskId": TASK,
            "workerWallet": address(WORKER),
            "enclaveChallenge": ZERO_ADDRESS,
        } | fields
        signed = personal_sign(OWNER, *(str(texts[one]) for one in ORDER))
        return {**texts, "signature": {"value": signed}}

    def ask_token(self, body: object, header: str | None = None) -> Response:
        if header is None:
            header = personal_sign(WORKER, *(body[one] for one in ORDER))  # type: ignore[index]  # an object
        return self.call("POST", "/v1/results/token", body, header)

    def token(self) -> str:
        answer = self.ask_token(self.authorization())
        assert answer.status == 200
        return answer.body.decode()

    def upload(self, token: str, zipped: bytes | None = None, **fields: object) -> Response:
        text = base64.b64encode(archive() if zipped is None else zipped).decode()
        return self.call("POST", "/v1/results", {"chainTaskId": TASK, "zip": text} | fields, token)

    def call(self, method: str, path: str, body: object = None, header: str = "") -> Response:
        headers = {"content-type": "application/json", "authorization": header}
        sent = b"" if body is None else json.dumps(body).encode()
        return self.routes.answer(Request(method, path, {}, headers, sent))

    def reveal(self, result: bytes = RESULT) -> None:
        digest = hashlib.sha256(result).digest()
        contributed = "0x" + keccak(bytes.fromhex(TASK[2:]), digest).hex()
        self.chain.contribute(TASK, address(WORKER), contributed)
        self.chain.agree(TASK, 1, contributed)
        self.chain.reveal(TASK, address(WORKER))


ORDER = ("workerWallet", "chainTaskId", "enclaveChallenge")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class TestToken:
    """The checks of 2.3."""

    def test_is_given_to_the_authorised_wallet_and_stays_the_same(self, bench: Bench) -> None:
        token = bench.token()
        assert token.count(".") == 2
        assert bench.token() == token
        bench.proxy.close()
        bench.start()
        assert bench.token() == token
        assert bench.proxy.wallet_of(token) == address(WORKER)

    def test_needs_a_signature_by_the_wallet(self, bench: Bench) -> None:
        body = bench.authorization()
        for header in (personal_sign(OWNER, *(body[one] for one in ORDER)), "0x1234", ""):
            answer = bench.ask_token(body, header)
            assert (answer.status, answer.body) == (401, b"")

    def test_takes_a_wallet_in_any_case(self, bench: Bench) -> None:
        body = bench.authorization(workerWallet=address(WORKER).upper().replace("0X", "0x"))
        assert bench.ask_token(body).status == 200

    def test_needs_a_task_on_chain(self, bench: Bench) -> None:
        assert bench.ask_token(bench.authorization(chainTaskId="0x" + "00" * 32)).status == 401
        assert bench.ask_token(bench.authorization(chainTaskId="0x")).status == 401
        bench.chain.reachable = False
        assert bench.ask_token(bench.authorization()).status == 401

    def test_needs_a_task_before_its_final_deadline(self, bench: Bench) -> None:
        bench.clock.time_s = bench.chain.tasks[TASK].final_deadline_s - 1
        assert bench.ask_token(bench.authorization()).status == 200
        bench.clock.time_s += 1
        assert bench.ask_token(bench.authorization()).status == 401

    def test_needs_a_deal(self, bench: Bench) -> None:
        bench.chain.deals = []
        assert bench.ask_token(bench.authorization()).status == 401

    def test_needs_a_challenge_for_tee_tasks_and_none_for_others(self, bench: Bench) -> None:
        challenged = bench.authorization(enclaveChallenge="0x" + "cc" * 20)
        assert bench.ask_token(challenged).status == 401
        bench.chain.deals = [(1, replace(DEAL, tag="0x3"))]
        assert bench.ask_token(bench.authorization()).status == 401
        assert bench.ask_token(challenged).status == 200

    def test_needs_the_word_of_the_deals_workerpool(self, bench: Bench) -> None:
        bench.chain.owner = "0x" + "00" * 20
        assert bench.ask_token(bench.authorization()).status == 401

    @pytest.mark.parametrize("field", ["enclaveChallenge", "workerWallet", "signature"])
    def test_with_a_null_where_there_must_be_none_fails(self, bench: Bench, field: str) -> None:
        body = bench.authorization() | {field: None}
        assert bench.call("POST", "/v1/results/token", body, "0x").status == 500

    def test_without_a_header_or_a_body_is_bad(self, bench: Bench) -> None:
        request = Request("POST", "/v1/results/token", {}, {}, b"{}")
        assert bench.routes.answer(request).status == 400
        headers = {"content-type": "application/json", "authorization": "0x"}
        request = Request("POST", "/v1/results/token", {}, headers, b"{")
        assert bench.routes.answer(request).status == 400


class TestUpload:
    """The checks of 2.4."""

    def test_of_a_revealed_result_is_kept_and_found(self, bench: Bench) -> None:
        bench.reveal()
        token = bench.token()
        answer = bench.upload(token)
        name = content_name(archive())
        assert (answer.status, answer.body.decode()) == (200, f"/ipfs/{name}")
        assert answer.content_type == "text/plain;charset=UTF-8"
        assert bench.call("GET", f"/v1/results/{TASK}/ipfshash").body.decode() == name
        assert bench.call("HEAD", f"/v1/results/{TASK}", header=token).status == 204
        assert bench.call("GET", f"/ipfs/{name}").body == archive()
        bench.proxy.close()
        bench.start()
        assert bench.proxy.has_result(TASK)

    def test_needs_a_known_token(self, bench: Bench) -> None:
        bench.reveal()
        token = bench.token()
        for wrong in ("", token[:-1], token + "x", "é"):
            assert bench.upload(wrong).status == 401

    def test_is_taken_once(self, bench: Bench) -> None:
        bench.reveal()
        token = bench.token()
        assert bench.upload(token).status == 200
        assert bench.upload(token).status == 401

    def test_whose_hash_is_recorded_and_whose_content_is_gone_is_a_bad_request(
        self, bench: Bench
    ) -> None:
        bench.reveal()
        token = bench.token()
        bench.upload(token)
        path = bench.folder / "store" / content_name(archive())
        path.unlink()
        assert bench.upload(token).status == 400

    def test_needs_task_and_deal_on_chain(self, bench: Bench) -> None:
        bench.reveal()
        token = bench.token()
        assert bench.upload(token, chainTaskId="0x" + "00" * 32).status == 401
        bench.chain.reachable = False
        assert bench.upload(token).status == 401
        bench.chain.reachable = True
        bench.chain.deals = []
        assert bench.upload(token).status == 401

    def test_needs_a_task_that_is_revealing(self, bench: Bench) -> None:
        bench.reveal()
        token = bench.token()
        for status in (ChainTaskStatus.ACTIVE, ChainTaskStatus.COMPLETED):
            bench.chain.change(TASK, status=status)
            assert bench.upload(token).status == 401

    def test_needs_the_uploaders_reveal(self, bench: Bench) -> None:
        token = bench.token()
        bench.reveal()
        made = bench.chain.contributions[TASK, address(WORKER)]
        bench.chain.contribute(TASK, address(WORKER), made.result_hash)
        assert bench.upload(token).status == 401

    def test_needs_the_contributed_result(self, bench: Bench) -> None:
        bench.reveal()
        token = bench.token()
        assert bench.upload(token, archive(b"another")).status == 401
        assert bench.upload(token, b"").status == 401
        assert bench.upload(token, zip=None).status == 401
        assert bench.upload(token).status == 200

    @pytest.mark.parametrize("fields", [{"zip": "no base64!"}, {"zip": 1}, {"chainTaskId": None}])
    def test_that_cannot_be_read_is_bad(self, bench: Bench, fields: dict[str, object]) -> None:
        answer = bench.upload(bench.token(), None, **fields)
        assert answer.status == 400


def test_what_was_not_uploaded_is_not_found(bench: Bench) -> None:
    assert bench.call("GET", f"/v1/results/{TASK}/ipfshash").status == 404
    assert bench.call("HEAD", f"/v1/results/{TASK}", header=bench.token()).status == 404
    assert bench.call("HEAD", f"/v1/results/{TASK}", header="x").status == 401
    assert bench.call("GET", "/ipfs/Qm").status == 404
    assert bench.call("GET", "/ipfs/..").status == 404


@pytest.mark.parametrize(("profile", "version"), [("8", "8.5.0"), ("9", "9.1.0")])
def test_the_version_is_that_of_the_generation(tmp_path: Path, profile: str, version: str) -> None:
    assert Bench(tmp_path, profile).call("GET", "/version").body.decode() == version


def test_the_configuration_server_tells_the_chain() -> None:
    routes = config_routes({"chainId": 65535})
    answer = routes.answer(Request("GET", "/config/chain", {}, {}, b""))
    assert json.loads(answer.body) == {"chainId": 65535}


class TestStore:
    def test_names_what_it_keeps_by_its_content(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        name = store.put(b"hello")
        # base58 of 0x1220 and the SHA-256, worked out with another tool.
        assert name == "QmRN6wdp1S2A5EtjW9A3M1vKSBuQQGcgvuhoMUoEz4iiT5"
        assert (store.put(b"hello"), store.get(name)) == (name, b"hello")
        assert sorted(one.name for one in tmp_path.iterdir()) == [name]

    @pytest.mark.parametrize("name", ["", "..", "Qm", "../etc/passwd", "Qm" + "0" * 44])
    def test_has_nothing_under_another_name(self, tmp_path: Path, name: str) -> None:
        assert Store(tmp_path).get(name) is None
