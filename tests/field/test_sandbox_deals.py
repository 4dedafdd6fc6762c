"""A deal that cannot be, or that will come to nothing, is told in words when it is bought."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from iexworker.errors import SandboxError
from iexworker.sandbox.chain import deals
from iexworker.sandbox.chain.deals import Purchase
from tests.field.helpers.small_sandbox import SmallSandbox

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("field-sandbox-deals")]

NOBODY = "0x1234567890123456789012345678901234567890"
GOOD = {"iexec_args": "x", "iexec_result_storage_provider": "ipfs"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallSandbox]:
    sandbox = SmallSandbox(tmp_path_factory.mktemp("sandbox"))
    yield sandbox
    sandbox.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--category 99", "there is no category 99 on this chain: 0 to 5"),
        (
            "--price 1000",
            "the requester has 100 RLC free, and 1 task for 1000 RLC costs 1000 RLC",
        ),
        ("--volume 7000", "7000 tasks for 0.1 RLC cost 700 RLC"),
    ],
)
def test_what_the_contracts_refuse_is_told_in_words(
    sandbox: SmallSandbox, arguments: str, words: str
) -> None:
    said = sandbox.type("deal", "--image", "app:1", *arguments.split())

    assert said.code == 69
    assert words in said.err
    assert len(said.err.splitlines()) <= 2
    assert "0x08c379a" not in said.err


@pytest.mark.parametrize(
    ("purchase", "words"),
    [
        (Purchase("app:1", volume=0), "its volume is 0, or an order is used up"),
        (Purchase("app:1", workerpool_price_nrlc=2**256 - 1), "costs more than a number can hold"),
    ],
)
def test_a_deal_made_in_python_is_refused_in_words_too(
    sandbox: SmallSandbox, purchase: Purchase, words: str
) -> None:
    with pytest.raises(SandboxError) as caught:
        deals.buy(sandbox.chain, purchase)

    assert words in str(caught.value)
    assert "0x08c379a" not in str(caught.value)


@pytest.mark.parametrize(
    "params",
    [
        *("plain arguments", '{"iexec_args":"x"}', '{"iexec_args":"x"', "[]"),
        *('{"iexec_result_storage_provider":""}', '{"iexec_result_storage_provider":null}'),
        *(
            '{"iexec_result_storage_provider":"IPFS"}',
            '{"iexec_result_storage_provider":"dropbox"}',
        ),
    ],
)
def test_a_deal_without_storage_provider_is_warned_of(sandbox: SmallSandbox, params: str) -> None:
    said = sandbox.type("deal", "--json", "--image", "app:1", "--params", params)

    assert said.code == 0
    assert len(json.loads(said.out)["taskIds"]) == 1
    assert said.err.startswith("iexworker: warning: ")
    assert "iexec_result_storage_provider" in said.err
    assert "a Java worker finds no link to such a result" in said.err


@pytest.mark.parametrize(
    "arguments", [("--params", json.dumps(GOOD)), ("--args", "x"), ("--callback", "receiver")]
)
def test_a_deal_that_names_one_or_needs_none_is_not_warned_of(
    sandbox: SmallSandbox, arguments: tuple[str, str]
) -> None:
    assert sandbox.type("deal", "--image", "app:1", *arguments).err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--callback", NOBODY), f"there is no contract at {NOBODY}"),
        (("--tag", "0x1"), "the tag 0x1 asks for an enclave and names no kind of it"),
        (("--tag", "0x3"), "nobody takes the task: this network has no enclave"),
        (("--trust", "99"), "4 workers are too few to agree with trust 99: 16 at most"),
        (
            ("--params", json.dumps(GOOD | {"iexec_args": "x" * 1200})),
            "bytes make `initialize` need 3",
        ),
        (("--image", "Some/App"), "Some/App is no name of a Docker image"),
    ],
)
def test_a_deal_that_comes_to_nothing_is_warned_of(
    sandbox: SmallSandbox, arguments: tuple[str, str], words: str
) -> None:
    more = () if "--image" in arguments else ("--image", "app:1")

    said = sandbox.type("deal", *more, *arguments)

    assert said.code == 0
    assert words in said.err
