from __future__ import annotations

from pathlib import Path

import pytest

from iexworker.sandbox.chain.chainstate import ChainState

WHOLE = '{"block":%d,"historical_states":null}'


@pytest.fixture
def state(tmp_path: Path) -> ChainState:
    """A chain that began with a snapshot, block 0."""
    snapshot = tmp_path / "snapshot.json"
    snapshot.write_text(WHOLE % 0)
    made = ChainState(tmp_path / "chain")
    made.begin(snapshot)
    return made


def test_a_chain_that_was_never_dumped_goes_on_from_its_beginning(state: ChainState) -> None:
    assert state.latest().read_text() == WHOLE % 0


def test_a_chain_goes_on_from_its_last_dump_until_there_is_a_later_one(state: ChainState) -> None:
    state.dumped.write_text(WHOLE % 1)

    assert state.latest().read_text() == WHOLE % 1
    assert not state.dumped.exists()
    assert state.latest().read_text() == WHOLE % 1


@pytest.mark.parametrize("part", [0, 1, 20, -1])
def test_a_dump_that_was_written_in_part_does_not_count(state: ChainState, part: int) -> None:
    state.dumped.write_text((WHOLE % 1)[:part])

    assert state.is_torn()
    assert state.latest().read_text() == WHOLE % 0
    assert not state.is_torn()


def test_a_new_chain_forgets_the_dump_of_the_one_before(state: ChainState, tmp_path: Path) -> None:
    state.dumped.write_text(WHOLE % 1)
    (tmp_path / "snapshot.json").write_text(WHOLE % 2)

    state.begin(tmp_path / "snapshot.json")

    assert state.latest().read_text() == WHOLE % 2
