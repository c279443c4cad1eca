"""Who runs this: kept with what a run writes. Imports nothing of ours."""

import getpass


def user_name() -> str:
    """Name of the user; ``unknown`` where the system has none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
