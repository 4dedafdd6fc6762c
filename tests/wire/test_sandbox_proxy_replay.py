"""The recordings of the result proxy drive the sandbox's: their requests in, their answers out.

Signatures are those of the recording and are checked in earnest.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from web3 import Web3

from iexworker.sandbox.endpoint import Request
from iexworker.sandbox.proxy.ipfs import Store
from iexworker.sandbox.proxy.proxy import ResultProxy
from iexworker.sandbox.proxy.routes import proxy_routes
from iexworker.sandbox.scheduler.interfaces import (
    ChainContribution,
    ChainTask,
    ChainTaskStatus,
    ContributionStatus,
)
from iexworker.sandbox.scheduler.models import ZERO_ADDRESS, Deal, Profile
from tests.wire.helpers.replayed_recording import MovableClock, load

OWNER = "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65"


class RevealedChain:
    """Every task is revealed with the result that was uploaded for it."""

    def __init__(self, uploads: dict[str, str]) -> None:
        self._uploads = uploads

    def task(self, task_id: str) -> ChainTask | None:
        return ChainTask(ChainTaskStatus.REVEALING, task_id, "0x", 2, 10**6, 1, 1)

    def deal(self, deal_id: str) -> Deal | None:
        return Deal(deal_id, 1, "0x0", "DOCKER", "app", "x", ZERO_ADDRESS, 300_000, 1, 0, 1)

    def deal_owner(self, deal_id: str) -> str | None:
        return OWNER

    def contribution(self, task_id: str, wallet: str) -> ChainContribution:
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(self._uploads[task_id]))) as files:
            digest = hashlib.sha256(files.read("result.txt")).digest()
        contributed = Web3.keccak(bytes.fromhex(task_id[2:]) + digest).to_0x_hex()
        return ChainContribution(ContributionStatus.PROVED, contributed, 1)


def uploads(recording: dict[str, Any]) -> dict[str, str]:
    return {
        event["body"]["chainTaskId"]: event["body"]["zip"]
        for event in recording["events"]
        if event["request"] == "POST /v1/results"
    }


@pytest.mark.parametrize("name", ["8.5-resultproxy", "9.2-resultproxy"])
def test_uploads_get_the_recorded_answers(name: str, tmp_path: Path) -> None:
    recording = load(name)
    profile = Profile(name[0])
    chain = RevealedChain(uploads(recording))
    proxy = ResultProxy(profile, MovableClock(0), chain, Store(tmp_path), None)
    routes = proxy_routes(proxy, profile)
    token = ""
    for event in recording["events"]:
        method, _, target = event["request"].partition(" ")
        headers = dict(event["headers"])
        if headers.get("authorization") == "<jwt>":
            headers["authorization"] = token
        body = b"" if event["body"] is None else json.dumps(event["body"]).encode()
        answer = routes.answer(Request(method, urlsplit(target).path, {}, headers, body))
        where = event["request"]
        assert answer.status == event["status"], where
        assert answer.content_type == event["response_headers"].get("content-type"), where
        if event["response"] == "<jwt>":
            token = answer.body.decode()
            assert token.count(".") == 2
        else:
            assert answer.body.decode() == (event["response"] or ""), where
    proxy.close()
