"""Texts that an env file spoils on its way: control characters, quotes, names that are none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from iexworker.errors import EXIT_CONFIG, SettingsError, WalletError
from iexworker.settings.model import load
from iexworker.settings.table import TABLE, Setting, listed_registry_entries, registry_entries
from iexworker.wallet import open_keystore
from tests.field.helpers.command import environment, run

ENTRIES = (*TABLE, *registry_entries(0), *registry_entries(1), *listed_registry_entries(0))
OPEN = [entry for entry in ENTRIES if not entry.secret]
PASSWORDS = [entry for entry in ENTRIES if entry.secret]
FAULTS = {
    "a CR at the end": "{}\r",
    "a line end at the end": "{}\n",
    "a tab inside": "{}\t{}",
    "an escape character": "\x1b[0m{}",
    "DEL": "{}\x7f",
    "a C1 control": "{}\x85",
    "a BOM": "\ufeff{}",
    "a zero-width space": "{}\u200b",
    "a no-break space": "{}\u00a0",
    "double quotes": '"{}"',
    "single quotes": "'{}'",
    "backquotes": "`{}`",
    "typographic quotes": "\u201c{}\u201d",
    "one quote at the start": '"{}',
    "one quote at the end": "{}'",
    "nothing but quotes": '""',
    "nothing but a CR": "\r",
}
PLAIN = {"IEXEC_WORKER_BASE_DIR": "/var/lib/iexec", "IEXEC_WORKER_WALLET_PASSWORD": "mine"}


def problems(environ: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(environ, config_dirs=())
    assert caught.value.exit_code == EXIT_CONFIG
    return caught.value.problems


def names() -> Iterator[str]:
    for entry in OPEN:
        yield entry.shown_variable
        if entry.variable and entry.own:
            yield entry.own_variable
    yield from ("LOGGING_LEVEL_ROOT", "IEXWORKER_CONFIG_DIR", "IEXWORKER_ENV")
    yield from (entry.shown_variable + "_FILE" for entry in PASSWORDS)


def good_text(name: str) -> str:
    """Return a value that this variable takes."""
    by_name = {item: entry for entry in OPEN for item in (entry.variable, entry.own_variable)}
    entry: Setting | None = by_name.get(name)
    return "INFO" if entry is None else entry.example or entry.default or "text"


@pytest.mark.parametrize("fault", FAULTS)
def test_no_setting_takes_a_control_character_or_quotes_around_it(fault: str) -> None:
    for name in names():
        text = FAULTS[fault].replace("{}", good_text(name))
        told = [line for line in problems({name: text}) if line.startswith(f"{name}=")]
        assert len(told) == 1, (name, fault)
        assert "env file" in told[0]
        assert told[0].isprintable()


@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "DOCKER_CONFIG", "DOCKER_CERT_PATH"]
)
def test_nor_does_a_variable_that_a_library_reads_for_us(name: str) -> None:
    (told,) = problems({**PLAIN, name: "http://me:hunter2@proxy.example:3128\r"})
    assert told.startswith(f"{name}=")
    assert "hunter2" not in told


def test_a_text_of_a_settings_file_is_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[default]\nname = "\'w\'"\ncore_url = "http://x\\r"\n')
    with pytest.raises(SettingsError) as caught:
        load(PLAIN, config_dirs=[tmp_path])
    assert [line.split("=")[0].split(": ")[1] for line in caught.value.problems] == [
        "core_url",
        "name",
    ]


def test_a_settings_file_with_a_byte_order_mark_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"\xef\xbb\xbf[default]\nport = 1\n")
    with pytest.raises(SettingsError, match="byte order mark"):
        load(PLAIN, config_dirs=[tmp_path])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" /var/lib/x", "blank"),
        ("/var/lib/x ", "blank"),
        ("~/iexec", "nothing is expanded"),
        ("$HOME/iexec", "nothing is expanded"),
        ("${HOME}/iexec", "nothing is expanded"),
        ("/var/lib/x # the tasks", "comment"),
    ],
)
@pytest.mark.parametrize("name", ["IEXEC_WORKER_BASE_DIR", "IEXEC_WORKER_WALLET_PATH"])
def test_a_path_is_taken_to_the_letter_or_not_at_all(name: str, text: str, words: str) -> None:
    (told,) = problems({**PLAIN, name: text})
    assert told.startswith(f"{name}={text}: expected")
    assert words in told


@pytest.mark.parametrize("text", ['"', "'", "\t", "${HOME}", "~"])
def test_no_folder_of_a_spoilt_name_comes_to_be(text: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    done = run(environment(tmp_path, IEXEC_WORKER_BASE_DIR=text), "run", cwd=place)
    assert done.returncode == EXIT_CONFIG
    assert "IEXEC_WORKER_BASE_DIR=" in done.stderr
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "\ufeffIEXEC_CORE_URL",
        "export IEXEC_CORE_URL",
        "IEXEC_CORE_URL\r",
        " IEXEC_CORE_URL",
        "IEXEC_CORE_URL ",
        '"IEXEC_CORE_URL',
        "\ufeffPOOL_ADDRESS",
        "export DOCKER_HOST",
        "set IEXWORKER_PROFILE",
    ],
)
def test_a_name_that_an_env_file_spoils_is_no_name(name: str) -> None:
    (told,) = problems({**PLAIN, name: "http://core.example"})
    wanted = re.findall(r"[A-Z_]{6,}", name)[0]
    assert wanted in told
    assert "env file" in told
    assert told.isprintable()


def test_names_of_others_are_nobodys_business() -> None:
    load({**PLAIN, "\ufeffPATH": "x", "export LANG": "C", "MY_IEXEC_CORE_URL": "x"}, config_dirs=())


@pytest.mark.parametrize("entry", PASSWORDS, ids=lambda entry: entry.shown_variable)
@pytest.mark.parametrize("fault", ["\r", "\n", "\0"])
def test_a_password_takes_no_line_end_and_no_nul(entry: Setting, fault: str) -> None:
    told = problems({**PLAIN, entry.variable: f"hunter2{fault}"})
    assert [line for line in told if line.startswith(f"{entry.variable}=***: expected")]
    assert "hunter2" not in str(told)


@pytest.mark.parametrize("content", ["hunter2\n\n", "hunter2\r\r\n", "hun\nter2", "hunter2\0"])
def test_nor_does_the_file_of_one(content: str, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(content.encode())
    (told,) = problems(
        {"IEXEC_WORKER_BASE_DIR": "/b", "IEXEC_WORKER_WALLET_PASSWORD_FILE": str(path)}
    )
    assert told.startswith("IEXEC_WORKER_WALLET_PASSWORD_FILE=")
    assert "hunter2" not in told


@pytest.mark.parametrize("text", ['"a b"', "'x'", " x ", "\tx", "\ufeffx", "x\u200b", "\x1b", '"'])
def test_any_other_password_is_taken_to_the_letter(text: str) -> None:
    environ = {**PLAIN, "IEXEC_WORKER_WALLET_PASSWORD": text}
    assert load(environ, config_dirs=()).settings.wallet_password == text


KEYSTORE = (
    '{"version":3,"crypto":{"cipher":"aes-128-ctr","kdf":"pbkdf2","kdfparams":{"dklen":32,"salt":'
    '"00","c":1,"prf":"hmac-sha256"},"ciphertext":"00","mac":"00","cipherparams":{"iv":"'
    + "00" * 16
    + '"}}}'
).encode()


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ('"hunter2"', "in double quotes"),
        ("'hunter2'", "in single quotes"),
        ("hunter2 ", "blank"),
        ("\ufeffhunter2", "byte order mark"),
        ("hunter2\t", "control character"),
        ("hunter2", "to the right one"),
    ],
)
def test_the_hint_of_a_wallet_that_does_not_open_names_what_is_odd_about_its_password(
    password: str, words: str
) -> None:
    with pytest.raises(WalletError) as caught:
        open_keystore(KEYSTORE, password)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:21000\r",
        "\x00http://h",
        "http://h\\x",
        "http://h|x",
        "http://h/<x>",
        'http://h/"x"',
        "http://${HOST}:1",
        "http://.h",
        "http://a..b",
        "http://" + "a" * 64,
        "http://h\u200b.x",
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "IEXEC_CORE_URL",
        "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS",
        "IEXWORKER_IPFS_GATEWAYS",
        "DOCKER_HOST",
    ],
)
def test_what_is_checked_of_a_url_is_what_is_used(name: str, url: str) -> None:
    text = url.replace("http://", "tcp://") if name == "DOCKER_HOST" else url
    assert [line for line in problems({**PLAIN, name: text}) if line.startswith(f"{name}=")]


@pytest.mark.parametrize("query", ["a\rb", "a b", "a\\b", "a#b\n"])
def test_the_query_of_a_node_is_checked_too(query: str) -> None:
    name = "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS"
    assert problems({**PLAIN, name: f"https://node.example/rpc?{query}"})
