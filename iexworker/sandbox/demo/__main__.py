"""`python -m iexworker.sandbox.demo` runs the demo."""

import sys

from iexworker.sandbox.demo.demo import main

sys.exit(main())
