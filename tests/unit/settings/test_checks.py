from __future__ import annotations

from pathlib import Path

import pytest

from iexworker.settings.checks import ignored_variables, unknown_names, volatile_folder


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("IEXEC_WORKER_NAMES", "IEXEC_WORKER_NAME"),
        ("IEXEC_CORE_ULR", "IEXEC_CORE_URL"),
        ("IEXWORKER_PROFIL", "IEXWORKER_PROFILE"),
        ("IEXEC_WORKER_WALLET_PASSWORDFILE", "IEXEC_WORKER_WALLET_PASSWORD_FILE"),
    ],
)
def test_a_typing_error_is_answered_with_the_nearest_name(name: str, near: str) -> None:
    (told,) = unknown_names({name: "x"}, {})

    assert told == f"{name} is no setting and has no effect; did you mean {near}?"


def test_a_name_like_no_other_is_just_unknown() -> None:
    (told,) = unknown_names({"IEXEC_ZZZ": "x"}, {})

    assert told == "IEXEC_ZZZ is no setting and has no effect"


def test_an_unknown_key_of_a_file_is_told_too() -> None:
    assert list(unknown_names({}, {"windowsize": 1, "port": 2})) == [
        "windowsize is no setting and has no effect; did you mean window_size?"
    ]


@pytest.mark.parametrize(
    "environ",
    [
        {"PATH": "/bin", "HOME": "/root"},
        {"IEXEC_WORKER_NAMES": ""},
        {"IEXWORKER_CONFIG_DIR": "/etc", "IEXWORKER_ENV": "rack"},
        {"IEXWORKER_DOCKER_REGISTRY_PASSWORD_7_FILE": "/p"},
        {"IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_1_FILE": "/p"},
        {"IEXEC_TEE_ENABLED": "true"},
    ],
)
def test_known_and_foreign_names_are_passed_over(environ: dict[str, str]) -> None:
    assert list(unknown_names(environ, {"docker_registry_address_12": 1})) == []


def test_variables_without_effect_are_mentioned_once() -> None:
    told = list(
        ignored_variables(
            {
                "IEXEC_CORE_GRAYLOG_HOST": "",
                "IEXEC_TEE_ENABLED": "true",
                "IEXEC_HTTP_PROXY_HOST": "proxy",
                "JAVA_TOOL_OPTIONS": "-Dhttp.proxyHost=proxy",
            }
        )
    )

    assert told == [
        "IEXEC_TEE_ENABLED: read by no version of the worker, this one included",
        "IEXEC_HTTP_PROXY_HOST, JAVA_TOOL_OPTIONS: no effect here; "
        "set HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
    ]


def test_a_folder_below_tmp_or_in_memory_is_volatile(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda2 / ext4 rw 0 0\n"
        "tmpfs /data/in\\040memory tmpfs rw 0 0\n"
        "/dev/sda1 /data/in\\040memory/disk ext4 rw 0 0\n",
        encoding="utf-8",
    )

    assert volatile_folder(Path("/tmp/x")) == "is below /tmp, which the system empties"
    assert volatile_folder(Path("/data/in memory/x"), mounts) == "is in memory (tmpfs)"
    assert volatile_folder(Path("/data/in memory/disk/x"), mounts) is None
    assert volatile_folder(Path("/data/in memory2"), mounts) is None


def test_a_folder_of_a_container_is_volatile_unless_it_is_mounted(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("overlay / overlay rw 0 0\n/dev/sda1 /base ext4 rw 0 0\n", encoding="utf-8")

    for path in ("/var/lib/iexworker", "/tmp/iexec-worker"):
        assert "mount it under the same path" in (volatile_folder(Path(path), mounts) or "")
    assert volatile_folder(Path("/base/worker"), mounts) is None


def test_the_machines_own_memory_folder_is_seen() -> None:
    assert volatile_folder(Path("/dev/shm/iexec")) == "is in memory (tmpfs)"
