"""Chain, Docker and slot of a replay, scripted with what the recording shows of them.

A transaction is mined at once, with the recorded receipt; consensus and reveal window follow at
once. A slot finds what the recorded update of its step says; a step without one never ends.
"""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iexworker.compute.folders import TaskFolder, make_folder
from iexworker.outbox.actions import ActionMined, Pace, Result
from iexworker.poco.hashing import keccak, result_hash, result_seal
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ZERO_BYTES32,
    ChainAccount,
    ChainReceipt,
    ChainTask,
    Contribution,
    ContributionStatus,
    DealParams,
    Head,
    Profile,
    TaskDescription,
    TaskStatus,
    TaskView,
)
from iexworker.scheduling.containers import EngineContainers
from iexworker.shared import handoff as papers
from iexworker.shared.channels import Channel, Hello, Order, Outcome
from iexworker.task.replicate import CONTRIBUTABLE_CAUSES, STATUSES, Replicate, Step
from tests.helpers.fake_gateway import ACTIONS, UNSET, ChainView
from tests.wire.helpers.run_script import FACTS, WALLET, Script

POOL_OWNER = "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65"
"""`schedulerPublicAddress` of the recordings, which signed their authorisations."""
POOL = "0x" + "0c" * 20
STAKE = 10
HOUR_S = 3600
IMAGE = "registry/app:1"


def digest_of(task_id: str) -> str:
    """Return a result's digest: the recordings show none."""
    return "0x" + keccak(task_id.encode()).hex()


@dataclass
class ScriptedChain(ChainView):
    """The tasks of a script, and how far each has come; a transaction is mined at once."""

    wallet = WALLET
    pace = Pace.IDLE

    script: Script
    start: int
    contributed_digests: dict[str, str] = field(default_factory=dict)
    """Task id -> digest."""
    revealed: set[str] = field(default_factory=set)
    born_s: int = field(default_factory=lambda: int(time.time()))
    _mined: list[Result] = field(default_factory=list)

    def head(self) -> Head:
        return Head(1000, int(time.time()))

    def task_view(self, task_id: str) -> TaskView:
        account = ChainAccount(STAKE, 0)
        return TaskView(self.task(task_id), self.contribution(task_id), account, self.head())

    def transact(self, replicate: Replicate, step: Step) -> None:
        if replicate.task_id in self.revealed:
            return  # asked for again, as the outbox bears it
        if step is Step.CONTRIBUTE and replicate.task_id in self.contributed_digests:
            return
        self._mined.append(self._mine(replicate, step))

    def results(self) -> list[Result]:
        found, self._mined = self._mined, []
        return found

    def _mine(self, replicate: Replicate, step: Step) -> ActionMined:
        """Return the receipt with which the recording tells of this transaction."""
        task_id = replicate.task_id
        if step is Step.CONTRIBUTE:
            assert replicate.digest is not None
            self.contributed_digests[task_id] = replicate.digest
        else:
            assert self.contributed_digests[task_id] == replicate.digest
            self.revealed.add(task_id)
        updates = self.script.updates(task_id, self.start)
        receipt = updates[STATUSES[step].success.value]["details"]["chainReceipt"]
        return ActionMined(
            task_id, ACTIONS[step], ChainReceipt(receipt["blockNumber"], receipt["txHash"])
        )

    def task(self, task_id: str) -> ChainTask:
        """Return the task; the first contribution is the consensus, as trust 1 has it."""
        digest = self.contributed_digests.get(task_id)
        grant = self.script.grants()[task_id]
        return ChainTask(
            task_id=task_id,
            status=TaskStatus.ACTIVE if digest is None else TaskStatus.REVEALING,
            deal_id=grant.get("dealId", ZERO_BYTES32),
            index=grant.get("taskIndex", 0),
            time_reference_s=HOUR_S,
            contribution_deadline_s=self.born_s + 7 * HOUR_S,
            reveal_deadline_s=0 if digest is None else self.born_s + 2 * HOUR_S,
            final_deadline_s=self.born_s + 10 * HOUR_S,
            consensus=ZERO_BYTES32 if digest is None else result_hash(task_id, digest),
            reveal_counter=int(task_id in self.revealed),
            winner_counter=int(digest is not None),
            contributors=() if digest is None else (WALLET,),
            results="0x",
        )

    def contribution(self, task_id: str) -> Contribution:
        """Return our contribution."""
        digest = self.contributed_digests.get(task_id)
        if digest is None:
            return UNSET
        proved = task_id in self.revealed
        status = ContributionStatus.PROVED if proved else ContributionStatus.CONTRIBUTED
        seal = result_seal(WALLET, task_id, digest)
        return Contribution(status, result_hash(task_id, digest), seal, ZERO_ADDRESS)

    def describe(self, task_id: str, profile: Profile) -> TaskDescription:
        """Return the description; what the recorded upload tells of it is in it."""
        task = self.task(task_id)
        upload = self.script.uploads().get(task_id, {})
        return TaskDescription(
            task_id=task_id,
            deal_id=task.deal_id,
            index=task.index,
            app_address="0x" + "0a" * 20,
            app_type="DOCKER",
            app_image=upload.get("image") or IMAGE,
            app_enclave="",
            dataset_address=ZERO_ADDRESS,
            dataset_uri="",
            dataset_checksum=ZERO_BYTES32,
            workerpool_address=POOL,
            workerpool_owner=POOL_OWNER,
            requester="0x" + "0d" * 20,
            beneficiary="0x" + "0d" * 20,
            callback=FACTS["callback"].get(task_id, ZERO_ADDRESS),
            tag=ZERO_BYTES32,
            trust=1,
            category=0,
            worker_stake=STAKE,
            bot_first_index=0,
            bot_size=1,
            start_time_s=self.born_s,
            max_execution_time_s=HOUR_S,
            contribution_deadline_s=task.contribution_deadline_s,
            final_deadline_s=task.final_deadline_s,
            params=DealParams(args=upload.get("cmd"), storage_provider="ipfs"),
            profile=profile.value,
        )


class NoContainers(EngineContainers):
    """An engine without a container."""

    def __init__(self, address: str, wallet: str) -> None:
        pass

    def ping(self) -> None:
        pass

    def kill_task(self, task_id: str) -> None:
        pass

    def owned(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True, slots=True)
class ScriptedSlot:
    """Plays a compute process."""

    chain: ScriptedChain
    root: Path
    orders: Channel
    outcomes: Channel

    def begin(self) -> None:
        """Work in a thread that ends with the process."""
        threading.Thread(target=self._serve, name="slot", daemon=True).start()

    def _serve(self) -> None:
        self.outcomes.put(Hello("compute-0", os.getpid()))
        while True:
            message = self.orders.get()
            if isinstance(message, Order):
                self._work(message)

    def _work(self, order: Order) -> None:
        outcome = self._find(order)
        if outcome is None:
            return  # computing when its worker was killed
        folder = self.root / order.task_id
        if outcome.digest is not None:
            archive = TaskFolder(folder).archive
            make_folder(archive.parent)
            upload = self.chain.script.uploads().get(order.task_id, {})
            archive.write_bytes(base64.b64decode(upload.get("zip", "")))
        papers.write_outcome(folder, outcome)
        self.outcomes.put(Outcome(order.task_id, order.step, order.attempt, outcome.ok))

    def _find(self, order: Order) -> papers.StepOutcome | None:
        updates = self.chain.script.updates(order.task_id, self.chain.start)
        statuses = STATUSES[Step(order.step)]
        for status in (statuses.success, statuses.failure):
            if status.value in updates:
                return _outcome(order, updates[status.value], status is statuses.success)
        return None


def _outcome(order: Order, update: Mapping[str, Any], ok: bool) -> papers.StepOutcome:
    details = update["details"] or {}
    logs = details.get("computeLogs")
    cause = details.get("cause")
    contributable = cause in CONTRIBUTABLE_CAUSES or (ok and order.step == Step.COMPUTE.value)
    return papers.StepOutcome(
        task_id=order.task_id,
        step=order.step,
        attempt=order.attempt,
        ok=ok,
        cause=cause,
        exit_code=details.get("exitCode"),
        with_logs=logs is not None,
        stdout_tail=(logs or {}).get("stdout", ""),
        stderr_tail=(logs or {}).get("stderr", ""),
        digest=digest_of(order.task_id) if contributable else None,
    )
