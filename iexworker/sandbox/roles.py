"""The ten accounts of a sandbox, by role: public development keys, never to be given value."""

from __future__ import annotations

MNEMONIC = "test test test test test test test test test test test junk"
"""The one that every local node of this kind knows."""

ROLES = (
    "admin",  # deploys and owns the contracts
    "requester",
    "appOwner",
    "datasetOwner",
    "scheduler",  # owns the workerpool
    "worker1",
    "worker2",
    "worker3",
    "worker4",
    "beneficiary",
)
"""A role's place in the list is its index in `m/44'/60'/0'/0/INDEX`."""

STAKED_ROLES = ("requester", "scheduler", "worker1", "worker2", "worker3", "worker4")
