"""`GET /tasks/<id>` as the real scheduler answers it (recordings `tests/wire/*-return-*.json`)."""

from __future__ import annotations

from iexworker.sandbox.endpoint import timestamp
from iexworker.sandbox.scheduler.models import Replicate, Task, TaskStatus


def task_json(task: Task, base_url: str) -> dict[str, object]:
    """Return the `TaskModel` of a task; addresses in it start with `base_url`."""
    deal = task.deal
    known = task.status not in (TaskStatus.RECEIVED, TaskStatus.INITIALIZING)
    return {
        "chainTaskId": task.task_id,
        "replicates": [_replicate_json(task, one, base_url) for one in task.every()],
        "maxExecutionTime": deal.max_execution_ms,
        "tag": deal.tag,
        "dappType": deal.app_type,
        "dappName": deal.app_image,
        "commandLine": deal.command,
        "initializationBlockNumber": task.initialization_block,
        "currentStatus": task.status.value,
        "trust": deal.trust,
        "uploadingWorkerWalletAddress": task.uploader,
        "consensus": task.consensus,
        "contributionDeadline": timestamp(deal.contribution_deadline_s) if known else None,
        "revealDeadline": timestamp(task.reveal_deadline_s) if task.reveal_deadline_s else None,
        "finalDeadline": timestamp(deal.final_deadline_s) if known else None,
        "resultLink": task.result_link,
        "chainCallbackData": task.callback_data,
        "dateStatusList": [
            {"date": timestamp(one.at_ms / 1000), "status": one.status.value}
            for one in task.history
        ],
    }


def logs_json(replicate: Replicate) -> dict[str, object] | None:
    """Return the `ComputeLogs` of a replicate, None while there are none."""
    if replicate.stdout is None:
        return None
    return {
        "walletAddress": replicate.wallet,
        "stdout": replicate.stdout,
        "stderr": replicate.stderr,
    }


def _replicate_json(task: Task, replicate: Replicate, base_url: str) -> dict[str, object]:
    """Return a `ReplicateModel`, which leaves out what is not there."""
    self_url = f"{base_url}/tasks/{task.task_id}/replicates/{replicate.wallet}"
    optional: dict[str, object] = {
        "resultLink": replicate.result_link or None,
        "chainCallbackData": replicate.callback_data or None,
        "contributionHash": replicate.contribution_hash or None,
        "appLogs": None if replicate.stdout is None else f"{self_url}/logs",
        "appExitCode": replicate.exit_code,
    }
    return {
        "self": self_url,
        "chainTaskId": task.task_id,
        "walletAddress": replicate.wallet,
        "currentStatus": replicate.status.value,
        "statusUpdateList": [
            {"status": one.status.value, "date": timestamp(one.at_ms / 1000)}
            for one in replicate.history
        ],
        **{name: value for name, value in optional.items() if value is not None},
    }
