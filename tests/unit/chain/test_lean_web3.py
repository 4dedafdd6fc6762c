from __future__ import annotations

import subprocess
import sys

SLOW = """
import sys
import iexworker.chain.rpc
print(*sorted(name for name in sys.modules if name.startswith(("py_ecc.bls", "aiohttp"))))
"""
MISSED = """
import iexworker.chain.rpc
from web3._utils.http_session_manager import ClientSession
try:
    ClientSession()
except RuntimeError as error:
    print(error)
import aiohttp
print(ClientSession is not aiohttp.ClientSession)
"""
USED = """
import iexworker.chain.rpc
from eth_keyfile import create_keyfile_json, decode_keyfile_json
from iexworker.chain.lean_web3 import BLS12_381_ORDER
from py_ecc.bls12_381 import curve_order
key = (5).to_bytes(32, "big")
made = create_keyfile_json(key, b"secret", version=4, iterations=2)
print(decode_keyfile_json(made, b"secret") == key, curve_order == BLS12_381_ORDER, made["pubkey"])
"""
PUBLIC_KEY_OF_5 = (
    "b0e7791fb972fe014159aa33a98622da3cdc98ff707965e536d8636b5fcc5ac7"
    "a91a8c46e59a00dca575af0f18fb13dc"
)
"""By the library on its own."""


def words(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_web3_is_imported_without_what_a_worker_never_uses() -> None:
    assert words(SLOW) == []


def test_who_uses_the_curves_later_gets_the_real_ones() -> None:
    assert words(USED) == ["True", "True", PUBLIC_KEY_OF_5]


def test_an_asynchronous_provider_says_what_it_lacks() -> None:
    said = words(MISSED)

    assert said[0] == "aiohttp.ClientSession:"
    assert said[-1] == "True"  # aiohttp itself is untouched
