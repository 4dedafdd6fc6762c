"""What a deal's buyer is told; the numbers are those of the contracts' own source."""

from __future__ import annotations

import re
from typing import Any

import pytest

from iexworker.sandbox.chain import deal_words
from iexworker.sandbox.network import tools


class Chain:
    """The facts that the words need, as a chain tells them."""

    def __init__(self, requester_nrlc: int = 10**9, version: str = "6.1.0", code: str = "") -> None:
        self.deployed = {"pocoVersion": version}
        self.accounts = {role: self for role in ("requester", "scheduler", *workers())}
        self.address = "0x" + "11" * 20
        self.web3 = self.eth = self
        self._stake_nrlc, self._code = requester_nrlc, code

    def read(self, function: str, *_: object) -> int:
        return {"countCategory": 5, "viewScore": 0}[function]

    def struct(self, *_: object) -> dict[str, int]:
        return {"stake": self._stake_nrlc}

    def get_code(self, _: str) -> str:
        return self._code


def workers() -> list[str]:
    return [f"worker{number}" for number in range(1, 5)]


def refused(reason: str, chain: Chain | None = None, **deal: int) -> str:
    known: dict[str, Any] = {"category": 0, "volume": 1, "task_price_nrlc": 10**8}
    stand_in: Any = chain or Chain()
    return deal_words.refused(stand_in, reason, **known | deal)


def warned(chain: Chain | None = None, **deal: object) -> list[str]:
    known: dict[str, Any] = {
        "image": "app:1",
        "params": '{"iexec_result_storage_provider":"ipfs"}',
        "tag": "0x0",
        "callback": "0x" + "00" * 20,
        "trust": 1,
        "volume": 1,
    }
    stand_in: Any = chain or Chain()
    return list(deal_words.warnings(stand_in, **known | deal))


@pytest.mark.chain
@pytest.mark.parametrize("profile", sorted(tools.POCO_VERSIONS))
def test_every_number_that_the_contracts_revert_with_has_words(profile: str) -> None:
    source = tools.contracts_folder(profile) / "contracts"
    text = "".join(path.read_text(errors="replace") for path in source.rglob("IexecPoco1*.sol"))
    codes = set(re.findall(r"iExecV5-matchOrders-0x\w\w", text))

    assert len(codes) > 20
    assert [code for code in codes if refused(code) == code] == []


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("something new", "something new"),
        ("", "they give no reason"),
        ("Panic error 0x11: Arithmetic", "it costs more than a number can hold"),
        ("iExecV5-matchOrders-0xff", "iExecV5-matchOrders-0xff"),
    ],
)
def test_a_reason_that_is_not_known_stands_as_it_is(reason: str, words: str) -> None:
    assert refused(reason) == words


def test_who_is_short_of_money_is_named() -> None:
    reason = "IexecEscrow: Transfer amount exceeds balance"

    assert refused(reason, volume=11) == (
        "the requester has 1 RLC free, and 11 tasks for 0.1 RLC cost 1.1 RLC"
    )
    assert refused(reason, Chain(10**8)).startswith("the scheduler has 0.1 RLC free, less than")


@pytest.mark.parametrize(
    "image",
    [
        *("app", "app:1", "some/app:v1.2", "127.0.0.1:5000/a/b-c__d.e:1", "Host.test/app"),
        *("iexec/app@sha256:" + "ab" * 32, "registry:5000/app:1@sha256:" + "ab" * 32),
    ],
)
def test_a_name_of_an_image_is_known_as_one(image: str) -> None:
    assert warned(image=image) == []


@pytest.mark.parametrize("image", ["App", "some/App", "app:", "/app", "app:1:2", "a//b", "app@sha"])
def test_what_no_engine_takes_for_an_image_is_warned_of(image: str) -> None:
    assert "is no name of a Docker image" in warned(image=image)[0]


@pytest.mark.parametrize(
    ("version", "tag", "words"),
    [
        ("6.1.0", "0x9", "nobody takes the task"),
        ("5.5.0", "0x9", "names no kind of it: 0x3 Scone, 0x5 Gramine"),
        ("6.1.0", "0x7", "names no kind of it: 0x3 Scone, 0x5 Gramine, 0x9 TDX"),
    ],
)
def test_a_tag_is_judged_by_its_generation(version: str, tag: str, words: str) -> None:
    assert any(words in warning for warning in warned(Chain(version=version), tag=tag))


def test_a_tag_without_enclave_is_no_trouble() -> None:
    assert warned(tag="0x100") == []


@pytest.mark.parametrize("params", ['{"iexec_arg":"x"}', '{"iexec_args":"x"', '["x"]'])
def test_params_that_look_like_json_and_are_taken_for_arguments_are_warned_of(params: str) -> None:
    assert warned(params=params)[0].startswith("the params are no JSON object of known keys")


def test_a_callback_needs_a_contract_and_no_storage() -> None:
    address = "0x" + "ab" * 20

    assert warned(Chain(code="0x60"), callback=address, params="x") == []
    assert warned(callback=address)[0].startswith("there is no contract at 0xab")


@pytest.mark.parametrize(("length", "volume", "fits"), [(1000, 1, True), (1000, 2, False)])
def test_params_with_which_a_task_cannot_begin_are_warned_of(
    length: int, volume: int, fits: bool
) -> None:
    """At 1000 bytes the first task's `initialize` needs 296136 gas, the next ones' 316363."""
    callback = "0x" + "ab" * 20
    found = warned(Chain(code="0x60"), params="x" * length, volume=volume, callback=callback)

    assert bool(found) is not fits
