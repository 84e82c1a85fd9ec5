"""`python -m workerpool_operator` is the same as the `workerpool-operator` command."""

import sys

from workerpool_operator.cli import main

if __name__ == "__main__":
    sys.exit(main())
