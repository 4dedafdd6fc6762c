"""`python -m iexworker`."""

import sys

from iexworker.cli import main

sys.exit(main())
