"""Entry point of ``fastmap`` and ``python -m fastmap``."""

from __future__ import annotations

import sys

from fastmap.cli import main

if __name__ == "__main__":
    sys.exit(main())
