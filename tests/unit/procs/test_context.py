"""The roles of a tree and what a process gets at birth."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from iexworker.procs.context import Channels, Context, compute_role, roles
from iexworker.secrets import Secrets
from iexworker.settings.model import load
from iexworker.shared.board import Board
from iexworker.shared.channels import Channel, Hello, Ready, Stop, Token
from iexworker.shared.ring import Ring


@pytest.fixture
def context() -> Context:
    return Context(
        role=compute_role(0),
        slot=0,
        settings=load({}).settings,
        board=Board.create(roles(1)),
        ring=Ring.create(1, 10),
        channels=Channels.create(1),
        control=Channel("control"),
        reports=Channel("reports"),
        secrets=Secrets({}),
        boot_id="b",
        parent_pid=1,
        fail_fast=False,
    )


def test_what_must_register_first_is_born_first() -> None:
    assert roles(2) == ("scheduling", "http", "heartbeat", "compute-0", "compute-1")


def test_each_slot_has_its_own_queues() -> None:
    channels = Channels.create(3)
    assert len({channel.fileno() for channel in (*channels.orders, *channels.outcomes)}) == 6


def test_a_ready_process_tells_its_parent(context: Context) -> None:
    context.ready()
    assert context.reports.get_nowait() == Ready("compute-0")


def test_a_hello_names_role_and_pid(context: Context) -> None:
    assert context.hello() == Hello("compute-0", os.getpid())


def test_the_order_to_stop_is_found_without_waiting(context: Context) -> None:
    assert context.stop_order() is None
    context.control.put(Token("no order"))
    assert context.stop_order() is None
    context.control.put(Stop(3))
    assert context.stop_order() == Stop(3.0)


def test_a_context_cannot_be_changed(context: Context) -> None:
    assert replace(context, slot=1).slot == 1
    with pytest.raises(AttributeError):
        context.slot = 1  # type: ignore[misc]  # that is what is tested
