"""`python -m dashboard.reader`, as the supervisor starts it."""

import sys

from dashboard.reader.process import main

if __name__ == "__main__":
    sys.exit(main())
