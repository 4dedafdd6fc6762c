"""Undoes what a library under web3 does to Python's recursion limit.

py_ecc raises it to 100,000 at import. `json` recurses in C: a text of ten thousand brackets, which
any peer can send, would then overflow the stack and kill the process, instead of raising
`RecursionError`.
"""

from __future__ import annotations

import sys

SAFE_LIMIT = 1000
"""Python's own default, for which its C code is made."""


def restore_limit() -> None:
    """Set the limit back; to be called after the import of web3 or eth_account."""
    sys.setrecursionlimit(SAFE_LIMIT)
