from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iexworker.compute import log_text
from iexworker.compute.log_text import PIECE_BYTES, LogText, entry


def kept(pieces: list[bytes]) -> bytes:
    text = LogText()
    return b"".join(text.take(piece) for piece in pieces) + text.finish()


@given(st.lists(st.binary(max_size=40)), st.integers(min_value=1, max_value=9))
def test_the_text_does_not_depend_on_where_the_connection_was_cut(
    pieces: list[bytes], size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_text, "PIECE_BYTES", size)
        whole = b"".join(pieces)
        assert kept(pieces) == kept([whole]) == kept([bytes([byte]) for byte in whole])


@given(st.lists(st.text(max_size=40).map(str.encode)))
def test_text_in_lines_that_are_not_long_is_kept_as_it_is(pieces: list[bytes]) -> None:
    assert kept(pieces) == b"".join(pieces)


def test_each_byte_that_is_no_utf8_is_replaced() -> None:
    assert entry(b"\xe2\x82|\xed\xa0\x80|\xff").decode() == "\ufffd\ufffd|\ufffd\ufffd\ufffd|\ufffd"


def test_a_line_is_cut_where_the_engines_buffer_ends() -> None:
    line = b"a" * (PIECE_BYTES - 1) + "é".encode()
    assert kept([line, b"\n"]) == b"a" * (PIECE_BYTES - 1) + "\ufffd\ufffd\n".encode()
    assert kept([b"\n", line]) == b"\n" + b"a" * (PIECE_BYTES - 1) + "\ufffd\ufffd".encode()


def test_no_more_than_a_piece_of_a_line_is_held_back() -> None:
    text = LogText()
    assert len(text.take(b"\xff" * (3 * PIECE_BYTES + 1))) == 9 * PIECE_BYTES
    assert text.finish() == "\ufffd".encode()
