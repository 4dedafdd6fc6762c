from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iexworker.settings import parsers
from iexworker.settings.parsers import Kind

CHECKSUMMED = "0x748e091bf16048cb5103E0E10F9D5a8b7fBDd860"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (parsers.BOOLEAN, "False", False),
        (parsers.BOOLEAN, " TRUE ", True),
        (parsers.BOOLEAN, "on", True),
        (parsers.BOOLEAN, "0", False),
        (parsers.PORT, " 13100 ", 13100),
        (parsers.PORT, "+80", 80),
        (parsers.PORT, "0x1F", 31),
        (parsers.PORT, "#1f", 31),
        (parsers.PORT, "0017", 17),
        (parsers.integer(-1, 5, but=0), "-1", -1),
        (parsers.integer(-20, 5), "-0x10", -16),
        (parsers.FLOAT32, "1", 1.0),
        (parsers.FLOAT32, "1.", 1.0),
        (parsers.FLOAT32, ".5", 0.5),
        (parsers.FLOAT32, "1e0", 1.0),
        (parsers.FLOAT32, "1.5f", 1.5),
        (parsers.FLOAT32, "0", 0.0),
        (parsers.DURATION, "PT5M", 300),
        (parsers.DURATION, "pt30m", 1800),
        (parsers.DURATION, "P1DT2H", 93600),
        (parsers.DURATION, "PT1.5S", 1.5),
        (parsers.DURATION, "PT0,25S", 0.25),
        (parsers.DURATION, "-PT-5M", 300),
        (parsers.DURATION, "PT1M-0.5S", 59.5),
        (parsers.DURATION, "5m", 300),
        (parsers.DURATION, "90S", 90),
        (parsers.DURATION, "1d", 86400),
        (parsers.DURATION, "1500", 1.5),
        (parsers.DURATION, "2h", 7200),
        (parsers.SIZE, "8g", 8 << 30),
        (parsers.SIZE, "512M", 512 << 20),
        (parsers.SIZE, "8388608", 8 << 20),
        (parsers.SIZE, "8192k", 8 << 20),
        (parsers.URL, "http://localhost:13000/", "http://localhost:13000"),
        (parsers.URL, "https://core.example/base", "https://core.example/base"),
        (parsers.URL, "http://iexec_core:13000", "http://iexec_core:13000"),
        (parsers.NODE_URL, "https://node.example/rpc?key=a", "https://node.example/rpc?key=a"),
        (parsers.URL_LIST, "https://a , https://b/", ("https://a", "https://b")),
        (parsers.DOCKER_HOST, "unix:///run/docker.sock", "unix:///run/docker.sock"),
        (parsers.DOCKER_HOST, "tcp://10.0.0.1:2375", "tcp://10.0.0.1:2375"),
        (parsers.ADDRESS, CHECKSUMMED, CHECKSUMMED.lower()),
        (parsers.ADDRESS, CHECKSUMMED[2:].upper(), CHECKSUMMED.lower()),
        (parsers.ADDRESS, "0X0", None),
        (parsers.ADDRESS, "0x" + "00" * 20, None),
        (parsers.IP, "127.0.0.1", "127.0.0.1"),
        (parsers.IP, "::", "::"),
        (parsers.WORKER_NAME, "worker-1.a_b", "worker-1.a_b"),
        (parsers.BIND_PATH, "/var/lib/iexec-worker", Path("/var/lib/iexec-worker")),
        (parsers.BIND_PATH, "data", Path.cwd() / "data"),
        (parsers.NAMES, " health, prometheus ,", frozenset(("health", "prometheus"))),
        (parsers.LEVEL, "warn", "WARNING"),
        (parsers.LEVEL, "OFF", "CRITICAL"),
        (parsers.LENIENT_LEVEL, "loud", "DEBUG"),
        (parsers.LENIENT_LEVEL, "error", "ERROR"),
        (parsers.GPUS, "all", "all"),
        (parsers.GPUS, "0,GPU-8a1b", "0,GPU-8a1b"),
        (parsers.choice("NONE", "NATIVE"), "native", "NATIVE"),
        (parsers.choice("NONE", "NATIVE"), "n-o_ne", "NONE"),
    ],
)
def test_texts_that_the_java_worker_takes_are_taken(kind: Kind, text: str, expected: Any) -> None:
    assert kind.parse(text) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (parsers.BOOLEAN, "maybe"),
        (parsers.BOOLEAN, "2"),
        (parsers.PORT, "65536"),
        (parsers.PORT, "-1"),
        (parsers.PORT, "1_000"),
        (parsers.PORT, "1,000"),
        (parsers.PORT, "1.5"),
        (parsers.PORT, "0x"),
        (parsers.PORT, "٣"),
        (parsers.integer(-1, 5, but=0), "0"),
        (parsers.integer(0, 2**63 - 1), str(2**63)),
        (parsers.FLOAT32, "abc"),
        (parsers.FLOAT32, "NaN"),
        (parsers.FLOAT32, "1e39"),
        (parsers.FLOAT32, "1,3"),
        (parsers.DURATION, "5 minutes"),
        (parsers.DURATION, "5y"),
        (parsers.DURATION, "P"),
        (parsers.DURATION, "PT"),
        (parsers.DURATION, "P1DT"),
        (parsers.DURATION, "PT1.5M"),
        (parsers.DURATION, "-5m"),
        (parsers.DURATION, " 5m"),
        (parsers.SIZE, "5m"),
        (parsers.SIZE, "lots"),
        (parsers.URL, "localhost:13000"),
        (parsers.URL, "ftp://host"),
        (parsers.URL, "http://"),
        (parsers.URL, "http://host:port"),
        (parsers.URL, "http://http://host:80"),
        (parsers.URL, "http://host:70000"),
        (parsers.URL, "http://ho st"),
        (parsers.URL, "http://[::1"),
        (parsers.URL, "http://host/?a=b"),
        (parsers.NODE_URL, "node.example"),
        (parsers.URL_LIST, "https://a,b"),
        (parsers.URL_LIST, " , "),
        (parsers.DOCKER_HOST, "/var/run/docker.sock"),
        (parsers.DOCKER_HOST, "unix://"),
        (parsers.DOCKER_HOST, "tcp://"),
        (parsers.ADDRESS, CHECKSUMMED.replace("E0E", "e0E")),
        (parsers.ADDRESS, "0x12"),
        (parsers.IP, "localhost"),
        (parsers.WORKER_NAME, "-worker"),
        (parsers.WORKER_NAME, "my worker"),
        (parsers.WORKER_NAME, "../worker"),
        (parsers.WORKER_NAME, "w" * 129),
        (parsers.BIND_PATH, "/data:ro"),
        (parsers.LEVEL, "loud"),
        (parsers.GPUS, "all,"),
        (parsers.choice("NONE", "NATIVE"), "legacy"),
        (parsers.at_least(parsers.FLOAT32, 0, "above 0", above=True), "0"),
    ],
)
def test_other_texts_are_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError):
        kind.parse(text)


def test_a_float_has_single_precision() -> None:
    assert parsers.FLOAT32.parse("1.3") == struct.unpack("<f", struct.pack("<f", 1.3))[0] != 1.3


@given(st.text())
def test_a_kind_gives_a_value_or_a_value_error_and_nothing_else(text: str) -> None:
    kinds = [item for item in vars(parsers).values() if isinstance(item, Kind)]
    for kind in kinds:
        try:
            kind.parse(text)
        except ValueError:
            continue
