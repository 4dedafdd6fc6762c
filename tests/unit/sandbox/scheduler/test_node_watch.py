"""docs/spec/03, 9.7, last row but one: when the scheduler is out of service."""

from __future__ import annotations

import pytest

from iexworker.sandbox.scheduler.node_watch import FAILED_PROBES, SYNC_TIMEOUT_S, ChainHealth
from tests.helpers.sandbox_pool import Pool


def probe(health: ChainHealth, pool: Pool, times: int = 1) -> bool:
    for _ in range(times):
        pool.clock.time_s += 3
        pool.chain.block += 3
        health.probe()
    return health.in_service


def test_9_x_starts_out_of_service_until_a_block_comes_in() -> None:
    pool = Pool("9")
    health = ChainHealth(pool.world)
    assert not health.in_service
    health.probe()
    assert not health.in_service
    assert probe(health, pool)


def test_9_x_is_out_of_service_when_the_newest_block_is_old() -> None:
    pool = Pool("9")
    health = ChainHealth(pool.world)
    assert probe(health, pool, 2)
    pool.chain.block_at_s = pool.clock.time_s
    assert probe(health, pool, int(SYNC_TIMEOUT_S // 3))
    assert not probe(health, pool)
    pool.chain.block_at_s = None
    assert probe(health, pool)


def test_9_x_is_out_of_service_at_the_first_probe_that_fails() -> None:
    pool = Pool("9")
    health = ChainHealth(pool.world)
    assert probe(health, pool, 2)
    pool.chain.reachable = False
    assert not probe(health, pool)


def test_8_5_takes_four_failures_in_a_row() -> None:
    pool = Pool("8")
    health = ChainHealth(pool.world)
    assert health.in_service
    pool.chain.reachable = False
    assert probe(health, pool, FAILED_PROBES - 1)
    pool.chain.reachable = True
    assert probe(health, pool)
    pool.chain.reachable = False
    assert not probe(health, pool, FAILED_PROBES)
    pool.chain.reachable = True
    assert probe(health, pool)


@pytest.mark.parametrize("profile", ["8", "9"])
def test_the_node_is_asked_every_three_blocks(profile: str) -> None:
    pool = Pool(profile)
    health = ChainHealth(pool.world)
    probe(health, pool, 2)
    pool.chain.reachable = False
    pool.clock.time_s += 1
    health.probe()
    assert health.in_service
