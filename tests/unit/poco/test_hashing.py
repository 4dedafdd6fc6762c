from __future__ import annotations

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from iexworker.poco import hashing

ADDRESS = "0x748e091bf16048cb5103E0E10F9D5a8b7fBDd860"


@given(st.binary())
def test_proper_hex_reads_as_its_bytes(data: bytes) -> None:
    assert hashing.lenient_bytes(hashing.hex_text(data)) == data
    assert hashing.lenient_bytes(data.hex().upper()) == data


@given(st.text())
def test_no_text_at_all_fails_to_read(text: str) -> None:
    digits = text.removeprefix("0x")

    units = len(digits.encode("utf-16-le", "surrogatepass")) // 2
    assert len(hashing.lenient_bytes(text)) == (units + 1) // 2


def test_blanks_are_bad_digits_and_not_skipped() -> None:
    # 0a, " 0" = -16, "b " = 0xb0 - 1, 0c
    assert hashing.lenient_bytes("0a 0b 0c") == bytes((0x0A, 0xF0, 0xAF, 0x0C))


@given(st.binary(min_size=20, max_size=20))
def test_checksums_are_those_of_eip_55(data: bytes) -> None:
    address = hashing.hex_text(data)

    assert hashing.checksum_address(address) == to_checksum_address(address)
    assert hashing.is_address(hashing.checksum_address(address))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ADDRESS, True),
        (ADDRESS[2:], True),
        (ADDRESS.lower(), True),
        ("0x" + ADDRESS[2:].upper(), True),
        (ADDRESS.replace("E0E", "e0E"), False),
        (ADDRESS[:-1], False),
        (ADDRESS + "\n", False),
        ("0X" + ADDRESS[2:], False),
        ("", False),
    ],
)
def test_an_address_has_forty_digits_and_no_wrong_checksum(text: str, expected: bool) -> None:
    assert hashing.is_address(text) is expected


@pytest.mark.parametrize(
    ("text", "bytes32", "nonzero"),
    [
        ("0x" + "ab" * 32, True, True),
        ("0x" + "0" * 64, True, False),
        ("0x" + "1" * 63, True, True),
        ("0x" + "1" * 62, False, False),
        ("ab" * 32, False, False),
        ("0x" + "zz" * 32, False, False),
        ("0x", False, False),
    ],
)
def test_bytes32_wants_a_prefix_and_32_bytes(text: str, bytes32: bool, nonzero: bool) -> None:
    assert hashing.is_bytes32(text) is bytes32
    assert hashing.is_nonzero_bytes32(text) is nonzero


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0x" + "12" * 65, True),
        ("0x" + "00" * 65, False),
        ("0x" + "12" * 64, False),
        ("12" * 65, False),
    ],
)
def test_a_signature_has_65_bytes_and_is_not_zero(text: str, expected: bool) -> None:
    assert hashing.is_signature(text) is expected


def test_a_message_hash_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 32 bytes, got 31"):
        hashing.message_digest(b"\1" * 31)
