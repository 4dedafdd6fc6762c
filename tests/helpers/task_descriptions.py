"""A task as the chain describes it, for tests that vary a field or two."""

from __future__ import annotations

import dataclasses

from iexworker.poco.models import ZERO_ADDRESS, DealParams, TaskDescription

TASK = "0x" + "ab" * 32


def description(**changes: object) -> TaskDescription:
    base = TaskDescription(
        task_id=TASK,
        deal_id="0x" + "cd" * 32,
        index=0,
        app_address="0x" + "01" * 20,
        app_type="DOCKER",
        app_image="docker.io/library/app:1",
        app_enclave="",
        dataset_address=ZERO_ADDRESS,
        dataset_uri="",
        dataset_checksum="",
        workerpool_address="0x" + "02" * 20,
        workerpool_owner="0x" + "03" * 20,
        requester="0x" + "04" * 20,
        beneficiary="0x" + "05" * 20,
        callback=ZERO_ADDRESS,
        tag="0x" + "00" * 32,
        trust=1,
        category=0,
        worker_stake=0,
        bot_first_index=0,
        bot_size=1,
        start_time_s=0,
        max_execution_time_s=60,
        contribution_deadline_s=2_000_000_000,
        final_deadline_s=2_000_000_100,
        params=DealParams(args="a b", input_files=("http://h/a", None), secrets={"1": "x"}),
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # fields by name
