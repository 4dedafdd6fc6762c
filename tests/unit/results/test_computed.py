from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from iexworker.results import computed, digest
from iexworker.results.computed import ComputedFile, NoComputedFile
from tests.helpers.task_descriptions import TASK, description


def test_a_file_reads_its_known_keys_and_ignores_others() -> None:
    data = b'{"deterministic-output-path": "/iexec_out", "callback-data": null, "other": [1]}'
    assert ComputedFile.from_bytes(data, TASK) == ComputedFile("/iexec_out", task_id=TASK)


def test_the_task_id_is_ours_whatever_the_file_says() -> None:
    assert ComputedFile.from_bytes(b'{"task-id": "0x01"}', TASK).task_id == TASK


@pytest.mark.parametrize(
    ("data", "callback"),
    [
        (b' \n{"callback-data": "0x01"} trailing {', "0x01"),
        (b'{"callback-data": "\xe9"}', "\ufffd"),
        (b'{"callback-data": 1.50}', "1.50"),
        (b'{"callback-data": 12}', "12"),
        (b'{"callback-data": true}', "true"),
        (b'{"callback-data": false}', "false"),
        (b'{"callback-data": "a", "callback-data": "b"}', "b"),
    ],
)
def test_it_is_read_as_leniently_as_upstream_does(data: bytes, callback: str) -> None:
    assert ComputedFile.from_bytes(data, TASK).callback_data == callback


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{'a': 1}",
        b"\xff\xfe\x00",
        b'\xef\xbb\xbf{"callback-data": "0x01"}',
        '{"callback-data": "0x01"}'.encode("utf-16"),
        b'{"callback-data": []}',
        b'{"callback-data": {}}',
        b'{"x": NaN}',
        b'{"x": ' + b"[" * 100_000,
    ],
)
def test_anything_else_is_no_computed_file(data: bytes) -> None:
    with pytest.raises(NoComputedFile):
        ComputedFile.from_bytes(data, TASK)


def test_all_keys_are_written_in_upstreams_order() -> None:
    data = json.loads(ComputedFile(deterministic_output_path="/iexec_out/error.txt").to_bytes())
    assert list(data.items()) == [
        ("deterministic-output-path", "/iexec_out/error.txt"),
        ("callback-data", None),
        ("task-id", None),
        ("result-digest", None),
        ("enclave-signature", None),
        ("error-message", None),
    ]


def test_a_link_is_followed_within_its_folder_only(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text('{"callback-data": "secret"}')
    (tmp_path / "in" / "real.json").write_text("{}")
    link = tmp_path / "in" / "computed.json"
    link.symlink_to("real.json")
    assert computed.read_bytes(link) == b"{}"
    link.unlink()
    link.symlink_to("../secret")
    with pytest.raises(NoComputedFile, match="leads out"):
        computed.read_bytes(link)


def test_a_pipe_a_folder_a_circle_and_nothing_are_no_computed_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("pipe", ".", "circle", "absent"):
        with pytest.raises(NoComputedFile):
            computed.read(tmp_path / name, TASK)


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "computed.json").open("wb") as file:
        file.truncate(computed.MOST_BYTES + 1)
    with pytest.raises(NoComputedFile, match="too large"):
        computed.read(tmp_path / "computed.json", TASK)


def test_a_digest_in_the_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = ComputedFile(result_digest="0x" + "11" * 32)
    assert computed.result_digest(file, description(), tmp_path) == "0x" + "11" * 32


@pytest.mark.parametrize("text", ["hello", "0x12", "0x" + "11" * 33, "0x" + "zz" * 32])
def test_a_digest_in_the_file_that_could_not_be_revealed_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(digest.NoDigest, match="not 32 bytes"):
        computed.result_digest(ComputedFile(result_digest=text), description(), tmp_path)


def test_a_deal_with_a_callback_takes_the_digest_of_its_data(tmp_path: Path) -> None:
    task = description(callback="0x" + "77" * 20)
    file = ComputedFile(
        deterministic_output_path="/iexec_out", callback_data="0x" + "00" * 31 + "01"
    )
    assert computed.result_digest(file, task, tmp_path) == (
        "0xb10e2d527612073b26eecdfd717e6a320cf44b4afac2b0732d9fcbe2b7fa0cf6"
    )
    with pytest.raises(digest.NoDigest):
        computed.result_digest(ComputedFile(), task, tmp_path)


def test_any_other_deal_takes_the_digest_of_the_path(tmp_path: Path) -> None:
    (tmp_path / "iexec_out").mkdir()
    (tmp_path / "iexec_out" / "r").write_bytes(b"hello\n")
    file = ComputedFile(deterministic_output_path="/iexec_out/r")
    assert computed.result_digest(file, description(), tmp_path).startswith("0x5891b5b5")
