"""docs/spec/05, 6.10: the digest of an archive, by the vectors and beyond them."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from iexworker.sandbox.proxy import archives
from iexworker.sandbox.proxy.archives import BadArchive, result_digest

VECTORS = Path(__file__).parents[3] / "vectors" / "chain-result-digest.json"
CASES = json.loads(VECTORS.read_text(encoding="utf-8"))["cases"]
NO_ENTRY = "empty directory: keccak256 of nothing"
"""Archives have no entries for directories: an empty one is not there."""


def zipped(files: Mapping[str, bytes], computed: object = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if computed is not None:
            archive.writestr("computed.json", json.dumps(computed))
    return buffer.getvalue()


def staged(given: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Make the archive that a worker uploads for a vector."""
    if given["kind"] == "callback":
        return zipped({}, {"callback-data": given["callbackData"]}), True
    files = {f"out/{name}": base64.b64decode(text) for name, text in given.get("files", {}).items()}
    for folder, inner in given.get("subdirectories", {}).items():
        files |= {f"out/{folder}/{name}": base64.b64decode(text) for name, text in inner.items()}
    if given["kind"] == "file":
        files["out"] = base64.b64decode(given["contentBase64"])
    return zipped(files, {"deterministic-output-path": "/iexec_out/out"}), False


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_vectors(case: Mapping[str, Any]) -> None:
    archive, has_callback = staged(case["input"])
    if case["expected"] and case["name"] != NO_ENTRY:
        assert result_digest(archive, has_callback=has_callback) == case["expected"]
    else:
        with pytest.raises(BadArchive):
            result_digest(archive, has_callback=has_callback)


def test_the_whole_output_may_be_the_result() -> None:
    computed = {"deterministic-output-path": "/iexec_out"}
    whole = zipped({"result1.txt": b"A result"}, computed)
    again = zipped({"result1.txt": b"A result", "more/x": b"ignored"}, computed)
    assert result_digest(whole, has_callback=False) == result_digest(again, has_callback=False)


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no zip at all",
        zipped({"result.txt": b"x"}),
        zipped({"computed.json": b"{"}),
        zipped({}, ["no object"]),
        zipped({}, {}),
        zipped({}, {"deterministic-output-path": 1}),
        zipped({"x": b""}, {"deterministic-output-path": "/iexec_out/../etc/passwd"}),
        zipped({"result.txt": b"x"}, {"deterministic-output-path": "/iexec_out/other.txt"}),
    ],
    # Not the bytes themselves: they hold the time, and each lane must name the tests alike.
    ids=[
        "nothing",
        "no zip",
        "no computed.json",
        "no JSON",
        "no object",
        "no path",
        "path that is no text",
        "path that climbs out",
        "path to nothing",
    ],
)
def test_an_archive_without_a_result_is_bad(archive: bytes) -> None:
    with pytest.raises(BadArchive):
        result_digest(archive, has_callback=False)


def test_an_archive_that_unpacks_to_too_much_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_RESULT", 1000)
    archive = zipped({"x": bytes(2000)}, {"deterministic-output-path": "/iexec_out/x"})
    with pytest.raises(BadArchive, match="more than 1000 bytes"):
        result_digest(archive, has_callback=False)
