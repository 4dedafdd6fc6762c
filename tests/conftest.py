"""What every test relies on."""

from __future__ import annotations

import eth_account  # noqa: F401 - imported here, once, so that no test's import raises the limit again

from iexworker.recursion import restore_limit

restore_limit()
