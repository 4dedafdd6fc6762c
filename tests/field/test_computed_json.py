"""computed.json is read as iexec-common reads it, by the worker and by the sandbox's proxy."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

import pytest

from iexworker.results.computed import ComputedFile, NoComputedFile
from iexworker.sandbox.proxy.archives import BadArchive, result_digest
from tests.helpers.task_descriptions import TASK
from tests.vectors.helpers.loader import raw_cases

CASES = [pytest.param(case, id=case["name"]) for case in raw_cases("field-computed-json")]
RESULT = b"a result"
DIGEST = "0x" + hashlib.sha256(RESULT).hexdigest()
DESIGNATED = "deterministic-output-path"
NAMES = {
    "deterministic_output_path": DESIGNATED,
    "callback_data": "callback-data",
    "result_digest": "result-digest",
    "enclave_signature": "enclave-signature",
    "error_message": "error-message",
}


def content(case: dict[str, Any]) -> bytes:
    return b"".join(text.encode("latin-1") * count for text, count in case["input"])


def expected(case: dict[str, Any]) -> dict[str, str] | None:
    """Return the vector's properties, with the long texts that it abbreviates written out."""
    if case["expected"] is None:
        return None
    return {key: written_out(value) for key, value in case["expected"].items()}


def written_out(value: str) -> str:
    piece, mark, count = value.rpartition(" x ")
    if not mark or not count.isdigit():
        return value
    return "0x" + piece[3:] * int(count) if piece.startswith("0x ") else piece * int(count)


@pytest.mark.parametrize("case", CASES)
def test_a_computed_file_is_read_as_jackson_reads_it(case: dict[str, Any]) -> None:
    try:
        file = ComputedFile.from_bytes(content(case), TASK)
    except NoComputedFile:
        assert case["expected"] is None
        return
    found = {key: getattr(file, name) for name, key in NAMES.items()}
    assert {key: value for key, value in found.items() if value is not None} == expected(case)
    assert file.task_id == TASK


@pytest.mark.parametrize("case", CASES)
def test_the_sandboxs_proxy_refuses_what_the_real_one_does_not_read(case: dict[str, Any]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("computed.json", content(case))
        archive.writestr("r", RESULT)
    try:
        digest = result_digest(packed.getvalue(), has_callback=False)
    except BadArchive:
        digest = ""
    if case["expected"] is None:
        assert not digest
    elif case["expected"].get(DESIGNATED) == "/iexec_out/r":
        assert digest == DIGEST
