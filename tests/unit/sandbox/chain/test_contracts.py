from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from iexworker.errors import SandboxError
from iexworker.sandbox.chain.contracts import (
    Artifact,
    Package,
    routed_selectors,
    routed_signatures,
    selector,
    signature,
)

CODE = "0x" + "60" * 200
TRANSFER = {
    "type": "function",
    "name": "transfer",
    "inputs": [{"type": "address"}, {"type": "uint256"}],
    "outputs": [{"type": "bool"}],
}
ORDER = {
    "type": "tuple[]",
    "components": [{"type": "bytes32"}, {"type": "tuple", "components": [{"type": "string"}]}],
}


def write(folder: Path, path: str, **content: Any) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "package.json", version="6.1.0")
    return tmp_path


def test_a_signature_spells_structs_as_lists_of_their_types() -> None:
    entry = {"type": "function", "name": "match", "inputs": [ORDER, {"type": "uint256"}]}

    assert signature(entry) == "match((bytes32,(string))[],uint256)"


def test_a_selector_is_the_start_of_the_hash() -> None:
    assert selector("transfer(address,uint256)").hex() == "a9059cbb"


def test_functions_without_a_name_are_routed_by_agreed_words_and_selectors() -> None:
    abi: list[dict[str, Any]] = [TRANSFER, {"type": "receive"}, {"type": "fallback"}]

    assert routed_signatures(abi) == ["receive", "fallback", "transfer(address,uint256)"]
    assert [one.hex() for one in routed_selectors(abi)] == ["00000000", "ffffffff", "a9059cbb"]


def test_a_library_is_written_where_the_compiler_left_room() -> None:
    links = {"lib.sol": {"Orders": [{"start": 1, "length": 20}]}}
    artifact = Artifact("A", [], "aa" + "00" * 20 + "bb", links)

    linked = artifact.creation_code({"Orders": "0x" + "Cd" * 20})

    assert linked.hex() == "aa" + "cd" * 20 + "bb"


def test_constructor_types_are_those_of_the_constructor_or_none() -> None:
    constructor = {"type": "constructor", "inputs": [{"type": "address"}, ORDER]}

    assert Artifact("A", [TRANSFER], "").constructor_types == []
    types = Artifact("A", [TRANSFER, constructor], "").constructor_types
    assert types == ["address", "(bytes32,(string))[]"]


def test_a_contract_is_preferred_to_an_interface_of_its_name(folder: Path) -> None:
    write(folder, "artifacts/contracts/a/Token.sol/Token.json", abi=[], bytecode="0x")
    write(folder, "artifacts/contracts/b/Token.sol/Token.json", abi=[TRANSFER], bytecode=CODE)

    package = Package(folder)

    assert package.artifact("Token").abi == [TRANSFER]
    assert package.artifact("Token", with_code=False).abi == []


def test_the_build_comes_before_older_records(folder: Path) -> None:
    write(folder, "deployments/chain/Token.json", abi=[], bytecode=CODE)
    write(folder, "build/contracts/Token.json", abi=[TRANSFER], bytecode=CODE)

    assert Package(folder).artifact("Token").abi == [TRANSFER]


def test_joined_interfaces_take_a_signature_from_the_first_that_has_it(folder: Path) -> None:
    later = TRANSFER | {"outputs": []}
    write(folder, "build/contracts/New.json", abi=[TRANSFER], bytecode=CODE)
    write(folder, "build/contracts/Old.json", abi=[later, {"type": "receive"}], bytecode=CODE)

    assert Package(folder).abi(["New", "Old"]) == [TRANSFER]


def test_a_missing_contract_is_said_with_what_to_do(folder: Path) -> None:
    with pytest.raises(SandboxError, match=r"no contract Token: delete it"):
        Package(folder).artifact("Token")
