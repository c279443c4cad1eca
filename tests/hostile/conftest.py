"""The hostile tests stand on the makers of stores of other rooms."""

import sys
from pathlib import Path

for room in ("store", "estimate", "cli", "extract"):
    sys.path.insert(0, str(Path(__file__).parents[1] / room))
