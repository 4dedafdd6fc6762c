from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import pytest

from iexworker.errors import ChainError
from iexworker.poco.models import ContributionStatus, Profile, TaskStatus
from iexworker.recovery.contributions import SETTLE_BLOCKS, Contributions
from iexworker.shared.handoff import StepOutcome, TaskOrder, write_order, write_outcome
from iexworker.task.replicate import Replicate, Step
from tests.helpers.fake_chain import FakeChain
from tests.unit.helpers.recovery_data import (
    DIGEST,
    FINAL_DEADLINE_S,
    MINED,
    REVEALED,
    SIGNATURE,
    WALLET,
    describe,
    new_chain,
    open_gateway,
    put,
    sighting,
)

C = ContributionStatus


def contributed(number: int = 0, status: C = C.CONTRIBUTED) -> FakeChain:
    chain = new_chain()
    put(chain, sighting(TaskStatus.REVEALING, status, number=number))
    return chain


def search(
    chain: FakeChain,
    root: Path,
    known: Collection[str] = (),
    found: list[Replicate] | None = None,
) -> list[Replicate]:
    """Return what is found; it is in `found`, too, where the search fails."""
    records = [] if found is None else found

    async def collect() -> None:
        with closing(open_gateway(chain)) as gateway:
            contributions = Contributions(gateway, root, WALLET, 0.001, lambda: Profile.V9)
            async for record in contributions.search(known):
                records.append(record)

    asyncio.run(collect())
    return records


def keep_result(root: Path, task_id: str, profile: Profile = Profile.V9) -> None:
    folder = root / task_id
    write_order(folder, TaskOrder(describe(), profile))
    write_outcome(folder, StepOutcome(task_id, "compute", 4, ok=True, digest=DIGEST))
    (folder / "output").mkdir()
    (folder / "output" / "iexec_out.zip").write_bytes(b"zip")


def test_a_contribution_is_found_with_its_authorisation_and_its_kept_result(
    tmp_path: Path,
) -> None:
    chain = contributed()
    (task_id,) = chain.tasks
    keep_result(tmp_path, task_id)
    (record,) = search(chain, tmp_path)
    assert record.authorization.signature == SIGNATURE
    assert record.digest == DIGEST
    assert record.redo is None
    assert record.pending[-1].receipt == MINED


def test_a_reveal_is_found_with_its_receipt(tmp_path: Path) -> None:
    (record,) = search(contributed(status=C.PROVED), tmp_path)
    assert record.pending[-1].receipt == REVEALED


def test_a_task_keeps_the_profile_that_its_folder_tells(tmp_path: Path) -> None:
    chain = contributed()
    (task_id,) = chain.tasks
    keep_result(tmp_path, task_id, Profile.V8)
    (record,) = search(chain, tmp_path)
    assert record.profile is Profile.V8


def test_without_a_folder_the_task_is_computed_again(tmp_path: Path) -> None:
    (record,) = search(contributed(), tmp_path)
    assert record.redo is not None
    assert record.redo.step is Step.APP


def test_what_needs_an_enclave_is_not_computed_again(tmp_path: Path) -> None:
    chain = new_chain()
    put(chain, sighting(TaskStatus.REVEALING, C.CONTRIBUTED), tag="0x" + "00" * 31 + "03")
    (record,) = search(chain, tmp_path)
    assert record.redo is None


def test_known_tasks_are_not_even_looked_at(tmp_path: Path) -> None:
    chain = contributed()
    assert search(chain, tmp_path, known=list(chain.tasks)) == []
    assert chain.looked_at == []


def test_a_rejected_contribution_is_none(tmp_path: Path) -> None:
    assert search(contributed(status=C.REJECTED), tmp_path) == []


def test_a_task_that_has_ended_is_taken_up_only_for_the_folder_that_it_left(
    tmp_path: Path,
) -> None:
    chain = new_chain()
    task_id = put(chain, sighting(TaskStatus.COMPLETED, C.PROVED))
    put(chain, sighting(TaskStatus.REVEALING, C.CONTRIBUTED, FINAL_DEADLINE_S + 1, number=1))
    assert search(chain, tmp_path) == []
    (tmp_path / task_id).mkdir()
    (record,) = search(chain, tmp_path)
    assert (record.task_id, record.redo) == (task_id, None)


def test_an_unknown_transaction_leaves_the_reveal_possible(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = contributed()
    chain.knows_transactions = False
    (record,) = search(chain, tmp_path)
    assert record.staked
    assert "authorisation not found" in caplog.text


def test_one_that_cannot_be_read_does_not_hold_the_others_back(tmp_path: Path) -> None:
    chain = contributed()
    (first,) = chain.tasks
    second = put(chain, sighting(TaskStatus.ACTIVE, C.CONTRIBUTED, number=1))
    chain.unreadable = {first}
    found: list[Replicate] = []
    with pytest.raises(ChainError):
        search(chain, tmp_path, found=found)
    assert [record.task_id for record in found] == [second]


def test_what_the_node_holds_of_ours_is_waited_for_before_the_chain_is_read(
    tmp_path: Path,
) -> None:
    chain = contributed()
    chain.held = [2, 1]
    assert len(search(chain, tmp_path)) == 1
    assert chain.held == []


def test_a_transaction_that_is_stuck_is_not_waited_for_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = contributed()
    chain.held = [1] * 100
    assert len(search(chain, tmp_path)) == 1
    assert len(chain.held) == 100 - SETTLE_BLOCKS
    assert "are stuck" in caplog.text
