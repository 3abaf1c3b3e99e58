"""`python -m lucent` is the command line."""

import sys

from lucent.cli import main

if __name__ == "__main__":
    sys.exit(main())
