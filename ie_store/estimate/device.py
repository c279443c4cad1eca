"""Where the work is done, and what is remembered about it."""

from datetime import UTC, datetime
from importlib.metadata import version
from platform import python_version
from typing import Any

import torch

from ie_store.errors import InputError


def choose_device(text: str) -> torch.device:
    """The device named by ``text``; ``auto`` takes CUDA where there is any.

    Raises:
        InputError: not a device, or not there.
    """
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise InputError(f"device {text!r} is not known; choose auto, cpu, cuda or cuda:1") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {text!r} is not supported; choose auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {text!r} is not there: PyTorch sees {torch.cuda.device_count()} CUDA devices; try cpu")
    return device


def describe_session(device: torch.device) -> dict[str, Any]:
    """What may change the last bits of a result: versions, device and threads, with the time."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "python": python_version(),
        **{package: version(package) for package in ("ie-store", "torch", "numpy")},
    }
