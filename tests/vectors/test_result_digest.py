from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from iexworker.results import digest

CASES = json.loads((Path(__file__).parent / "chain-result-digest.json").read_text())["cases"]


def lay_out(case: dict[str, Any], output: Path) -> str:
    """Make the case's files; return the deterministic path."""
    target = output / "iexec_out"
    target.mkdir(parents=True)
    if case["kind"] == "file":
        (target / "result").write_bytes(base64.b64decode(case["contentBase64"]))
        return "/iexec_out/result"
    if case["kind"] == "missing":
        return "/iexec_out/missing"
    for name, content in case["files"].items():
        (target / name).write_bytes(base64.b64decode(content))
    for folder, files in case.get("subdirectories", {}).items():
        (target / folder).mkdir()
        for name, content in files.items():
            (target / folder / name).write_bytes(base64.b64decode(content))
    return "/iexec_out"


def digest_of(case: dict[str, Any], output: Path) -> str:
    if case["kind"] == "callback":
        return digest.of_callback(case["callbackData"])
    return digest.of_path(output, lay_out(case, output))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_digest_is_the_upstream_workers(case: dict[str, Any], tmp_path: Path) -> None:
    if case["expected"]:
        assert digest_of(case["input"], tmp_path) == case["expected"]
    else:
        with pytest.raises(digest.NoDigest):
            digest_of(case["input"], tmp_path)
