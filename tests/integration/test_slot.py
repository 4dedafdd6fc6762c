"""A compute process as scheduling and the parent see it, on a real engine."""

from __future__ import annotations

import dataclasses
import gc
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from iexworker.compute import names
from iexworker.compute.engine import Engine
from iexworker.compute.folders import TaskFolder
from iexworker.poco.models import Profile, TaskDescription
from iexworker.procs import compute
from iexworker.procs.context import Channels, Context, compute_role, roles
from iexworker.secrets import Secrets
from iexworker.shared import handoff
from iexworker.shared.board import Board, State
from iexworker.shared.channels import (
    Cancel,
    Channel,
    Hello,
    Message,
    Order,
    Outcome,
    Ready,
    Stop,
    Token,
)
from iexworker.shared.ring import Ring
from tests.helpers.docker_harness import (
    DIGEST_OF_A,
    WRITE_RESULT,
    DockerHarness,
    eventually,
    make_settings,
    new_wallet,
    remove_containers,
)

pytest_plugins = ["tests.helpers.docker_harness"]
pytestmark = pytest.mark.docker

ROLE = compute_role(0)


class Collaborators:
    """Scheduling and the parent of one slot."""

    def __init__(self, engine: Engine, harness: DockerHarness) -> None:
        self.engine = engine
        self.harness = harness
        self.context = Context(
            role=ROLE,
            slot=0,
            settings=harness.settings,
            board=Board.create(roles(1)),
            ring=Ring.create(1, 10),
            channels=Channels.create(1),
            control=Channel("control"),
            reports=Channel("reports"),
            secrets=Secrets({}),
            boot_id="boot",
            parent_pid=os.getpid(),
            fail_fast=False,
        )
        self.context.board.facts.set(wallet=harness.wallet)
        self.orders = self.context.channels.orders[0]
        self.outcomes = self.context.channels.outcomes[0]
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Let the slot serve in a thread of this process."""
        self.thread = threading.Thread(target=compute.run, args=(self.context,))
        self.thread.start()
        self.expect_greeting()

    def fork(self) -> ForkProcess:
        """Let the slot serve in a process of its own."""
        process = multiprocessing.get_context("fork").Process(
            target=compute.run, args=(self.context,)
        )
        process.start()
        self.expect_greeting()
        return process

    def expect_greeting(self) -> None:
        hello = self.hear()
        assert isinstance(hello, Hello) and hello.role == ROLE
        assert self.context.reports.get(timeout=10) == Ready(ROLE)

    def stop(self, grace_s: float = 0.0) -> None:
        if self.thread is not None:
            self.context.control.put_nowait(Stop(grace_s))
            self.thread.join(30)
            assert not self.thread.is_alive()
            self.thread = None

    def close(self) -> None:
        self.stop()
        for channel in (
            *self.context.channels.orders,
            *self.context.channels.outcomes,
            self.context.channels.tokens,
            self.context.channels.heartbeat_events,
            self.context.control,
            self.context.reports,
        ):
            channel.close()
        gc.collect()

    def task(self, script: str) -> TaskDescription:
        """Write the order of a new task to its folder."""
        description = self.harness.task(script)
        folder = self.harness.settings.task_dir(description.task_id)
        handoff.write_order(folder, handoff.TaskOrder(description, Profile.V9))
        return description

    def send(self, task: TaskDescription, attempt: int = 1, step: str = "compute") -> Order:
        order = Order(task.task_id, step, attempt)
        self.orders.put_nowait(order)
        return order

    def hear(self, seconds: float = 30.0) -> Message:
        return self.outcomes.get(timeout=seconds)

    def silent(self, seconds: float) -> bool:
        try:
            self.hear(seconds)
        except queue.Empty:
            return True
        return False

    def found(self, task: TaskDescription, step: str = "compute") -> handoff.StepOutcome:
        outcome = handoff.read_outcome(self.harness.settings.task_dir(task.task_id), step)
        assert outcome is not None
        return outcome

    def folder(self, task: TaskDescription) -> TaskFolder:
        return TaskFolder(self.harness.settings.task_dir(task.task_id))

    def state(self) -> State:
        return self.context.board.entry(ROLE).read().state

    def containers(self) -> int:
        return len(self.engine.find({names.LABEL_WALLET: self.harness.wallet}))


@pytest.fixture
def partners(engine: Engine, image: str, tmp_path: Path) -> Iterator[Collaborators]:
    made = Collaborators(engine, DockerHarness(make_settings(tmp_path), new_wallet(), image))
    yield made
    made.close()
    remove_containers(engine, made.harness.wallet)


def test_a_slot_greets_and_is_idle(partners: Collaborators) -> None:
    partners.start()
    eventually(lambda: partners.state() is State.IDLE, "idleness")
    partners.stop()
    assert partners.state() is State.STOPPING


def test_an_order_is_done_told_timed_and_cleared_away(partners: Collaborators) -> None:
    partners.start()
    task = partners.task(WRITE_RESULT)
    partners.send(task)
    assert partners.hear() == Outcome(task.task_id, "compute", 1, ok=True)
    assert partners.found(task).digest == DIGEST_OF_A
    eventually(lambda: partners.containers() == 0, "the removal")
    eventually(lambda: partners.state() is State.IDLE, "idleness")
    durations = partners.context.ring.reader().durations()
    assert (durations.app.count, durations.pre.count, durations.post.count) == (1, 0, 0)


def test_the_log_has_the_time_of_the_metric_and_the_archive_s_size(
    partners: Collaborators, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "iexworker")
    partners.start()
    task = partners.task(WRITE_RESULT)
    partners.send(task)
    partners.hear()
    eventually(lambda: bool(caplog.records), "the line")
    (said,) = [vars(one) for one in caplog.records]
    durations = partners.context.ring.reader().durations()
    assert (said["msg"], said["task"]) == ("task computed", task.task_id)
    assert said["duration_ms"] == durations.app.maximum
    assert said["size_bytes"] == partners.folder(task).archive.stat().st_size


def test_a_failure_that_scheduling_tells_of_is_not_told_by_the_slot(
    partners: Collaborators, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "iexworker")
    partners.start()
    partners.send(partners.task("true"))
    partners.hear()
    eventually(lambda: partners.containers() == 0, "the removal")
    assert caplog.records == []


def test_the_board_shows_the_work(partners: Collaborators) -> None:
    partners.start()
    task = partners.task("sleep 1")
    partners.send(task)
    eventually(lambda: partners.state() is State.BUSY, "work")
    entry = partners.context.board.entry(ROLE).read()
    assert (entry.task, entry.step) == (task.task_id, "compute")
    partners.hear()


def test_an_order_that_comes_twice_is_done_once(partners: Collaborators) -> None:
    partners.start()
    task = partners.task(f"cat /proc/sys/kernel/random/uuid; sleep 0.5; {WRITE_RESULT}")
    partners.send(task)
    eventually(lambda: partners.state() is State.BUSY, "work")
    partners.send(task)
    first = (partners.hear(), partners.found(task))
    assert (partners.hear(), partners.found(task)) == first
    partners.send(task)
    assert (partners.hear(), partners.found(task)) == first


def test_another_attempt_is_done_anew(partners: Collaborators) -> None:
    partners.start()
    task = partners.task(f"cat /proc/sys/kernel/random/uuid; {WRITE_RESULT}")
    partners.send(task, 1)
    partners.hear()
    first = partners.found(task)
    partners.send(task, 2)
    assert partners.hear() == Outcome(task.task_id, "compute", 2, ok=True)
    assert partners.found(task).stdout_tail != first.stdout_tail


def test_orders_wait_for_each_other(partners: Collaborators) -> None:
    partners.start()
    tasks = [partners.task(WRITE_RESULT) for _ in range(3)]
    for task in tasks:
        partners.send(task)
    assert [partners.hear() for _ in tasks] == [
        Outcome(task.task_id, "compute", 1, ok=True) for task in tasks
    ]


def test_an_order_without_a_file_or_with_an_unknown_step_fails(partners: Collaborators) -> None:
    partners.start()
    lost = partners.harness.task("true")
    partners.folder(lost).root.mkdir(parents=True)
    partners.send(lost)
    assert partners.hear() == Outcome(lost.task_id, "compute", 1, ok=False)
    assert partners.found(lost).cause == "UNKNOWN"
    task = partners.task("true")
    partners.send(task, step="reveal")
    assert partners.hear() == Outcome(task.task_id, "reveal", 1, ok=False)


def test_an_order_for_a_purged_task_is_answered_and_the_folder_stays_gone(
    partners: Collaborators,
) -> None:
    partners.start()
    purged = partners.harness.task("true")
    partners.send(purged)
    assert partners.hear() == Outcome(purged.task_id, "compute", 1, ok=False)
    assert not partners.folder(purged).root.exists()


def test_without_a_wallet_on_the_board_nothing_is_run(partners: Collaborators) -> None:
    partners.context.board.facts.set(wallet="")
    partners.start()
    task = partners.task("true")
    partners.send(task)
    assert partners.hear() == Outcome(task.task_id, "compute", 1, ok=False)
    assert "wallet" in partners.found(task).message


def test_a_cancelled_task_ends_silently_and_the_next_is_done(partners: Collaborators) -> None:
    partners.start()
    task = partners.task("touch /iexec_out/begun; sleep 60")
    partners.send(task)
    eventually((partners.folder(task).iexec_out / "begun").exists, "the app")
    partners.orders.put_nowait(Cancel(task.task_id))
    following = partners.task(WRITE_RESULT)
    partners.send(following)
    assert partners.hear() == Outcome(following.task_id, "compute", 1, ok=True)
    assert handoff.read_outcome(partners.folder(task).root, "compute") is None
    eventually(lambda: partners.containers() == 0, "the removal")


def test_a_task_cancelled_while_it_waits_is_not_begun(partners: Collaborators) -> None:
    partners.start()
    busy, waiting = partners.task(f"sleep 1; {WRITE_RESULT}"), partners.task(WRITE_RESULT)
    partners.send(busy)
    partners.send(waiting)
    partners.orders.put_nowait(Cancel(waiting.task_id))
    assert partners.hear() == Outcome(busy.task_id, "compute", 1, ok=True)
    assert partners.silent(1.0)
    assert not partners.folder(waiting).output.exists()


def test_a_cancel_of_what_another_life_left_ends_that(partners: Collaborators) -> None:
    task = partners.task("")
    spec = partners.harness.spec("sleep 60", task.task_id)
    partners.engine.start(partners.engine.create(spec))
    partners.start()
    partners.orders.put_nowait(Cancel(task.task_id))
    eventually(lambda: partners.containers() == 0, "the removal")


def test_a_message_that_is_no_order_is_passed_over(
    partners: Collaborators, caplog: pytest.LogCaptureFixture
) -> None:
    partners.start()
    partners.orders.put_nowait(Hello("scheduling", 1))
    partners.orders.put_nowait(Token("jwt"))
    task = partners.task("true")
    partners.send(task)
    assert isinstance(partners.hear(), Outcome)
    assert "unexpected message" in caplog.text


def test_scheduling_that_does_not_listen_gets_its_answer_later(
    partners: Collaborators, caplog: pytest.LogCaptureFixture
) -> None:
    partners.start()
    filler = Outcome("0x" + "00" * 32, "x" * 30_000, 1, ok=True)
    with pytest.raises(queue.Full):
        while True:
            partners.outcomes.put_nowait(filler)
    task = partners.task(WRITE_RESULT)
    partners.send(task)
    path = handoff.outcome_path(partners.folder(task).root, "compute")
    eventually(path.exists, "the outcome")
    eventually(lambda: "does not listen" in caplog.text, "the complaint")
    while not partners.outcomes.empty():
        partners.hear()
    partners.send(task)
    assert partners.hear() == Outcome(task.task_id, "compute", 1, ok=True)


def test_a_stop_waits_for_a_step_that_ends_within_its_grace(partners: Collaborators) -> None:
    partners.start()
    task = partners.task(f"touch /iexec_out/begun; sleep 1; {WRITE_RESULT}")
    partners.send(task)
    eventually((partners.folder(task).iexec_out / "begun").exists, "the app")
    partners.stop(grace_s=20)
    assert partners.hear() == Outcome(task.task_id, "compute", 1, ok=True)
    assert partners.containers() == 0


def test_a_stop_ends_an_app_that_does_not_end_within_its_grace(partners: Collaborators) -> None:
    partners.start()
    task = partners.task("touch /iexec_out/begun; sleep 60")
    partners.send(task)
    eventually((partners.folder(task).iexec_out / "begun").exists, "the app")
    started_s = time.monotonic()
    partners.stop(grace_s=0.5)
    assert time.monotonic() - started_s < 10
    assert partners.silent(0)
    assert partners.containers() == 0
    assert partners.folder(task).root.exists()


def test_a_slot_killed_in_the_middle_of_a_computation_completes_it(partners: Collaborators) -> None:
    task = partners.task(f"echo once >> /iexec_out/count; sleep 2; {WRITE_RESULT}")
    first = partners.fork()
    order = partners.send(task)
    count = partners.folder(task).iexec_out / "count"
    eventually(count.exists, "the app")
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    second = partners.fork()
    partners.orders.put_nowait(order)
    assert partners.hear() == Outcome(task.task_id, "compute", 1, ok=True)
    assert partners.found(task).digest == DIGEST_OF_A
    assert count.read_text() == "once\n"
    partners.context.control.put_nowait(Stop(5.0))
    second.join(30)
    assert second.exitcode == 0
    assert partners.containers() == 0


def test_a_slot_without_a_number_is_refused(partners: Collaborators) -> None:
    with pytest.raises(ValueError, match="has no slot"):
        compute.run(dataclasses.replace(partners.context, slot=None))
