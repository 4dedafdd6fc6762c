from __future__ import annotations

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from iexworker.chain import revert

ERROR = bytes.fromhex("08c379a0") + encode(["string"], ["not enough stake"])
PANIC = bytes.fromhex("4e487b71") + encode(["uint256"], [0x11])


def test_the_words_of_a_require_are_read() -> None:
    assert revert.decoded(ERROR) == "not enough stake"
    assert revert.decoded(PANIC) == "panic 0x11"
    assert revert.decoded(b"") == ""
    assert revert.decoded(b"plain\0\0") == "plain"


def test_data_that_is_no_text_is_shown_as_hex() -> None:
    assert revert.decoded(b"\x01\x02\x03\x04") == "0x01020304"


@given(st.binary() | st.binary().map(lambda data: ERROR[:68] + data))
def test_any_revert_data_reads_as_a_short_printable_text(data: bytes) -> None:
    words = revert.decoded(data)

    assert words.isprintable()
    assert len(words) <= revert.MAX_WORDS


@pytest.mark.parametrize(
    ("message", "data", "expected"),
    [
        ("execution reverted", None, "execution reverted"),
        ("execution reverted", "0x" + ERROR.hex(), "execution reverted: not enough stake"),
        ("execution reverted: x", "0x", "execution reverted: x"),
        ("VM execution error.", "Reverted 0x" + ERROR.hex(), "not enough stake"),
        ("VM execution error.", '"Reverted 0x6162"', "ab"),
        ("VM execution error.", "Bad instruction", "Bad instruction"),
        ("Reverted 0x", None, "Reverted 0x"),
        ("Reverted 0x123", None, "Reverted 0x123"),
        ("execution reverted: not enough stake", "0x" + ERROR.hex(), None),
    ],
)
def test_each_node_s_way_of_telling_a_revert_is_understood(
    message: str, data: str | None, expected: str | None
) -> None:
    assert revert.reason(message, data) == (message if expected is None else expected)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (3, "execution reverted", True),
        (-32015, "VM execution error.", True),
        (-32000, "execution reverted", True),
        (-32000, "out of gas", True),
        (-32000, "insufficient funds", False),
        (-32603, "internal error", False),
    ],
)
def test_a_refusal_of_the_contract_is_told_from_a_fault_of_the_node(
    code: int, text: str, expected: bool
) -> None:
    assert revert.is_revert(code, text) is expected
