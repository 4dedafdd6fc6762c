"""A task's description, put together from its deal and its assets, pure (05, sections 3.4, 3.6)."""

from __future__ import annotations

from collections.abc import Sequence

from iexworker.poco import abi, params
from iexworker.poco.models import ZERO_ADDRESS, ChainTask, Deal, Profile, TaskDescription

_APP = (abi.APP_TYPE, abi.APP_MULTIADDR, abi.APP_ENCLAVE)
_DATASET = (abi.DATASET_MULTIADDR, abi.DATASET_CHECKSUM)


def getters(deal: Deal) -> list[tuple[str, str]]:
    """Return contract and function of each asset's property that is needed."""
    found = [(deal.app.address, name) for name in _APP]
    if deal.dataset.address != ZERO_ADDRESS:
        found += [(deal.dataset.address, name) for name in _DATASET]
    return found


def assemble(
    task: ChainTask, deal: Deal, answers: Sequence[object], profile: Profile
) -> TaskDescription:
    """Return the description; `answers` are the category, then those to `getters`.

    Raises `ChainError` when one of them does not decode.
    """
    category, app_type, multiaddr, enclave, *dataset = answers
    # Profile 9 passes the image reference through the rule for datasets, profile 8 does not.
    read_image = abi.text if profile is Profile.V8 else abi.location
    return TaskDescription(
        task_id=task.task_id,
        deal_id=task.deal_id,
        index=task.index,
        app_address=deal.app.address,
        app_type=abi.text(abi.APP_TYPE, app_type),
        app_image=read_image(abi.APP_MULTIADDR, multiaddr),
        app_enclave=abi.text(abi.APP_ENCLAVE, enclave),
        dataset_address=deal.dataset.address,
        dataset_uri=abi.location(abi.DATASET_MULTIADDR, dataset[0]) if dataset else "",
        dataset_checksum=abi.bytes32(abi.DATASET_CHECKSUM, dataset[1]) if dataset else "",
        workerpool_address=deal.workerpool.address,
        workerpool_owner=deal.workerpool.owner,
        requester=deal.requester,
        beneficiary=deal.beneficiary,
        callback=deal.callback,
        tag=deal.tag,
        trust=deal.trust,
        category=deal.category,
        worker_stake=deal.worker_stake,
        bot_first_index=deal.bot_first,
        bot_size=deal.bot_size,
        start_time_s=deal.start_time_s,
        max_execution_time_s=abi.category(category).time_reference_s,
        contribution_deadline_s=task.contribution_deadline_s,
        final_deadline_s=task.final_deadline_s,
        params=params.read(deal.params, profile),
        profile=profile.value,
    )
