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

from iexworker.chain.hub import Hub
from iexworker.compute.folders import TaskFolder, make_folder
from iexworker.outbox.actions import ActionMined, Pace, Result
from iexworker.poco.hashing import keccak, result_hash, result_seal
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ZERO_BYTES32,
    ActionKind,
    ChainAccount,
    ChainReceipt,
    ChainTask,
    Contribution,
    ContributionEvent,
    ContributionStatus,
    DealParams,
    Head,
    Nonces,
    Profile,
    TaskDescription,
    TaskStatus,
    TaskView,
)
from iexworker.scheduling.chain_gateway import ChainGateway
from iexworker.scheduling.containers import EngineContainers
from iexworker.shared import handoff as papers
from iexworker.shared.channels import Channel, Hello, Order, Outcome
from iexworker.task.replicate import CONTRIBUTABLE_CAUSES, STATUSES, Replicate, Step
from tests.wire.helpers.run_script import FACTS, WALLET, Script

POOL_OWNER = "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65"
"""`schedulerPublicAddress` of the recordings, which signed their authorisations."""
POOL = "0x" + "0c" * 20
STAKE = 10
HOUR_S = 3600
IMAGE = "registry/app:1"
_KINDS = {Step.CONTRIBUTE: ActionKind.CONTRIBUTE, Step.REVEAL: ActionKind.REVEAL}


def digest_of(task_id: str) -> str:
    """Return a result's digest: the recordings show none."""
    return "0x" + keccak(task_id.encode()).hex()


@dataclass
class ScriptedChain:
    """The tasks of a script, and how far each has come."""

    script: Script
    start: int
    contributed: dict[str, str] = field(default_factory=dict)
    """Task id -> digest."""
    revealed: set[str] = field(default_factory=set)
    born_s: int = field(default_factory=lambda: int(time.time()))

    def mine(self, replicate: Replicate, step: Step) -> ActionMined:
        """Return the receipt with which the recording tells of this transaction."""
        task_id = replicate.task_id
        if step is Step.CONTRIBUTE:
            assert replicate.digest is not None
            self.contributed[task_id] = replicate.digest
        else:
            assert self.contributed[task_id] == replicate.digest
            self.revealed.add(task_id)
        updates = self.script.updates(task_id, self.start)
        receipt = updates[STATUSES[step].success.value]["details"]["chainReceipt"]
        return ActionMined(
            task_id, _KINDS[step], ChainReceipt(receipt["blockNumber"], receipt["txHash"])
        )

    def task(self, task_id: str) -> ChainTask:
        """Return the task; the first contribution is the consensus, as trust 1 has it."""
        digest = self.contributed.get(task_id)
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
        digest = self.contributed.get(task_id)
        if digest is None:
            return Contribution(ContributionStatus.UNSET, ZERO_BYTES32, ZERO_BYTES32, ZERO_ADDRESS)
        proved = task_id in self.revealed
        return Contribution(
            ContributionStatus.PROVED if proved else ContributionStatus.CONTRIBUTED,
            result_hash(task_id, digest),
            result_seal(WALLET, task_id, digest),
            ZERO_ADDRESS,
        )

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


class ScriptedHub(Hub):
    """Reads the scripted chain."""

    chain: ScriptedChain

    def client_version(self) -> str:
        return "replay"

    def chain_id(self) -> int:
        return self.configuration.chain_id

    def genesis_hash(self) -> str:
        return ZERO_BYTES32

    def head(self) -> Head:
        return Head(1000, int(time.time()))

    def oldest_block(self) -> int:
        return 0

    def contributions_since(self, block: int) -> list[ContributionEvent]:
        return []  # every journal of a replay is new, and none was lost

    def tee_broker(self) -> str | None:
        return None

    def accepts_signature(self, contract: str, digest: str, signature: str) -> bool:
        return False

    def task_view(self, task_id: str) -> TaskView:
        return TaskView(
            self.chain.task(task_id),
            self.chain.contribution(task_id),
            ChainAccount(STAKE, 0),
            self.head(),
        )

    def describe(self, task_id: str, profile: Profile) -> TaskDescription:
        return self.chain.describe(task_id, profile)


def gateway_class(chain: ScriptedChain) -> type[ChainGateway]:
    """Return a gateway on that chain: its checks and reads are the real ones, its outbox is not."""

    class ScriptedGateway(ChainGateway):
        def _hub(self) -> Hub:
            hub = ScriptedHub(self.configuration, "", WALLET)
            hub.chain = chain
            return hub

        async def head(self) -> Head:
            return self._hub().head()

        async def nonces(self) -> Nonces:
            return Nonces(0, 0)

        async def signed_nonce(self) -> int:
            return -1

        def _make_outbox(self, journal_path: Path) -> None:
            self._mined: list[Result] = []

        async def transact(self, replicate: Replicate, step: Step) -> None:
            if (replicate.task_id in chain.revealed) or (
                step is Step.CONTRIBUTE and replicate.task_id in chain.contributed
            ):
                return  # asked for again, as the outbox bears it
            self._mined.append(chain.mine(replicate, step))
            self.wake.set()

        async def turn_outbox(self) -> tuple[list[Result], Pace]:
            results, self._mined = self._mined, []
            return results, Pace.IDLE

        async def forget(self, task_id: str) -> None:
            pass

    return ScriptedGateway


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
