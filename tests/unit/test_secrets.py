"""Secrets leave the environment and are shut away."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from iexworker import secrets
from iexworker.secrets import Secrets


def test_a_secret_is_read_until_it_is_closed() -> None:
    kept = Secrets({"wallet_password": "pässword\n"})
    assert kept.get("wallet_password") == "pässword\n"
    assert kept.get("wallet_password") == "pässword\n"
    kept.close()
    kept.close()
    with pytest.raises(PermissionError):
        kept.get("wallet_password")


def test_a_child_reads_them_and_its_closing_is_its_own() -> None:
    kept = Secrets({"a": "b"})
    pid = os.fork()
    if pid == 0:
        kept.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert kept.get("a") == "b"
    kept.close()


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("IEXEC_WORKER_WALLET_PASSWORD", True),
        ("IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_1", True),
        ("IEXWORKER_WALLET_PASSWORD", True),
        ("IEXEC_WORKER_WALLET_PASSWORD_FILE", False),
        ("IEXEC_WORKER_NAME", False),
    ],
)
def test_variables_with_a_secret_are_known_by_name(name: str, is_secret: bool) -> None:
    assert secrets.is_secret(name) is is_secret


PROGRAM = """
import os
from iexworker import secrets
secrets.forget(os.environ)
print(os.environ.get("A_PASSWORD"), os.environ["OTHER"])
import setproctitle
setproctitle.setproctitle("title")
print(open("/proc/self/environ").read().replace(chr(0), "|"))
print("hunter2" in open(f"/proc/{os.getpid()}/environ").read())
"""


def test_the_initial_environment_is_overwritten_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"A_PASSWORD": "hunter2", "OTHER": "stays", "B_PASSWORD_FILE": "/x"},
        capture_output=True,
        text=True,
        check=True,
    )
    first, *_, last = done.stdout.splitlines()
    assert first == "None stays"
    assert last == "False"
    assert "hunter2" not in done.stdout


def test_only_the_named_values_of_a_block_are_overwritten() -> None:
    block = b"A=1\0SECRET=hunter2\0SECRETS=2\0BROKEN\0\0"
    wiped = secrets._without_values(block, {b"SECRET"})
    assert wiped == b"A=1\0SECRET=" + bytes(7) + b"\0SECRETS=2\0BROKEN\0\0"


def test_without_secrets_nothing_is_touched() -> None:
    environ = {"A": "b"}
    secrets.forget(environ)
    assert environ == {"A": "b"}
