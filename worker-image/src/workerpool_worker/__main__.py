"""``python -m workerpool_worker``: the same as the command ``workerpool-worker``."""

import sys

from workerpool_worker.cli import main

sys.exit(main())
