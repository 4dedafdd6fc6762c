from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iexworker.compute import streams
from iexworker.compute.streams import Capture, copy_as_text, read_tail
from iexworker.shared.handoff import LOG_TAIL


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(data)) + data


@given(
    frames=st.lists(st.tuples(st.sampled_from([1, 2]), st.text(max_size=20).map(str.encode))),
    cuts=st.lists(st.integers(min_value=1, max_value=7), min_size=1),
)
def test_streams_are_told_apart_wherever_the_connection_is_cut(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("streams")
    data = b"".join(frame(*item) for item in frames)
    with Capture(folder / "out", folder / "err") as capture:
        while data:
            for cut in cuts:
                capture.feed(data[:cut])
                data = data[cut:]
    for stream, name in ((1, "out"), (2, "err")):
        expected = b"".join(piece for number, piece in frames if number == stream)
        assert (folder / name).read_bytes() == expected


def test_a_stream_is_cut_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_BYTES", 5)
    with Capture(tmp_path / "out", tmp_path / "err") as capture:
        capture.feed(frame(1, b"1234") + frame(1, b"5678") + frame(2, b"x"))
    assert (tmp_path / "out").read_bytes() == b"12345"
    assert (tmp_path / "err").read_bytes() == b"x"


def test_a_restart_forgets_what_was_received(tmp_path: Path) -> None:
    with Capture(tmp_path / "out", tmp_path / "err") as capture:
        capture.feed(frame(1, b"half a fra")[:10])
        capture.restart()
        capture.write(1, b"whole")
        capture.write(2, b"error")
    assert (tmp_path / "out").read_bytes() == b"whole"
    assert (tmp_path / "err").read_bytes() == b"error"


def test_a_short_stream_is_its_own_tail(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes("é".encode() + b"\xff")
    assert read_tail(tmp_path / "s") == "é\ufffd"
    assert read_tail(tmp_path / "absent") == ""


@pytest.mark.parametrize("character", ["a", "é", "€", "😀"])
def test_the_tail_of_a_long_stream_is_cut_between_characters(
    tmp_path: Path, character: str
) -> None:
    units = len(character.encode("utf-16-le")) // 2
    (tmp_path / "s").write_text("x" + character * (2 * LOG_TAIL), encoding="utf-8")
    assert read_tail(tmp_path / "s") == character * (LOG_TAIL // units)


def test_a_stream_is_cut_between_two_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_BYTES", 4)
    with Capture(tmp_path / "out", tmp_path / "err") as capture:
        capture.feed(frame(1, "€€\n".encode()) + frame(1, b"more"))
    assert (tmp_path / "out").read_text() == "€"


def test_an_entry_of_the_engines_log_is_kept_as_it_is(tmp_path: Path) -> None:
    with Capture(tmp_path / "out", tmp_path / "err") as capture:
        capture.write_entry(1, "\ufffd".encode() * 20_000)
        capture.write_entry(1, b"\n")
    assert (tmp_path / "out").read_text() == "\ufffd" * 20_000 + "\n"


def test_text_is_copied_with_replacement_across_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_CHUNK_BYTES", 2)
    (tmp_path / "s").write_bytes("a€b".encode() + b"\xe2\x82")
    target = io.BytesIO()
    copy_as_text(tmp_path / "s", target)
    assert target.getvalue().decode() == "a€b\ufffd"
