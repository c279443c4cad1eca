"""Memory of this process, as the kernel counts it (None where it does not say), and of the machine."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_MOST_POOLS = -8
"""The number that malloc.h has for this setting."""
_STATUS, _CLEAR = "/proc/self/status", "/proc/self/clear_refs"
_GROUPS, _OF_GROUPS = "/proc/self/cgroup", "/sys/fs/cgroup"


def reset_peak() -> None:
    """Let the peak begin anew from what is held now."""
    with suppress(OSError), open(_CLEAR, "w", encoding="ascii") as file:
        file.write("5")


def peak_bytes() -> int | None:
    """Most bytes that were held at once since `reset_peak`."""
    return _status("VmHWM:")


def held_bytes() -> int | None:
    """Bytes that are held now."""
    return _status("VmRSS:")


def share_one_pool() -> None:
    """Let all threads that begin from now on allocate from the same pool.

    Otherwise the C library keeps a pool for each, and what is free in it lies between what is still held: the more rows pass
    through, the more of it. No thread allocates often enough to wait for another.
    """
    with suppress(OSError, AttributeError):  # only the library of GNU has it
        ctypes.CDLL(None).mallopt(_MOST_POOLS, 1)


def give_back() -> None:
    """Give the system the memory that is free in this process's pool."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def machine_bytes() -> int:
    """Memory of the machine, or what the control groups of this process leave it of that."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *group_limits(_GROUPS, _OF_GROUPS)])


def group_limits(groups: str, root: str) -> list[int]:
    """Limits in bytes of the control groups that the file ``groups`` names, of version 1 or 2, and of those above them."""
    found: list[int] = []
    with suppress(OSError):
        for line in Path(groups).read_text(encoding="utf-8", errors="replace").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                folder, name = Path(root), "memory.max"
            elif "memory" in controllers.split(","):
                folder, name = Path(root, "memory"), "memory.limit_in_bytes"
            else:
                continue
            inside = Path(path.lstrip("/"))
            for place in (inside, *inside.parents):
                with suppress(OSError, ValueError):  # no limit: "max"
                    found.append(int((folder / place / name).read_text()))
    return found


def _status(name: str) -> int | None:
    try:
        with open(_STATUS, encoding="ascii", errors="replace") as file:
            return next((1024 * int(line.split()[1]) for line in file if line.startswith(name)), None)
    except OSError:
        return None
