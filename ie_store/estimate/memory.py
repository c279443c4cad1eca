"""Memory of this process, as the kernel counts it; None where it does not say."""

from contextlib import suppress

_STATUS, _CLEAR = "/proc/self/status", "/proc/self/clear_refs"


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


def _status(name: str) -> int | None:
    try:
        with open(_STATUS, encoding="ascii", errors="replace") as file:
            return next((1024 * int(line.split()[1]) for line in file if line.startswith(name)), None)
    except OSError:
        return None
