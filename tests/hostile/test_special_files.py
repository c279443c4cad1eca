"""Pipes, devices, sockets, folders and far too large files in the place of ours: a message, never a hang."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from made_store import make

from ie_store.errors import BusyError, StoreError
from ie_store.store.files.open import open_storage

COMMANDS = {
    "ls": ["ls", "{store}"],
    "info": ["info", "{store}", "{name}"],
    "show": ["show", "{store}", "{name}"],
    "verify": ["verify", "{store}", "{name}"],
    "estimate": ["estimate", "{store}", "{name}", "--estimator", "exact"],
}


def plant(path, kind, tmp_path):
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        here = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(2**40)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder", "terabyte"])
@pytest.mark.parametrize("file", ["zarr.json", "token_id/c/0/0", "ledger/zarr.json", "ledger/macro/c/0/0/0"])
def test_reading_ends_with_a_message(tmp_path, kind, file):
    made = make(tmp_path / "store").write()
    plant(Path(made.path, file), kind, tmp_path)
    with pytest.raises(StoreError, match=rf"{file}.*(not a regular file|can hold at most|No such device)"):
        open_storage(made.store).read(f"{made.name}/{file}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_waits_for_a_pipe_or_a_device(tmp_path, kind, command):
    made = make(tmp_path / "store").write()
    plant(Path(made.path, "zarr.json"), kind, tmp_path)
    arguments = [part.format(store=made.store, name=made.name) for part in COMMANDS[command]]
    program = [sys.executable, "-m", "ie_store_cli.main", *arguments]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.returncode == (0 if command == "ls" else 2)
    assert "not a regular file" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_reader_cannot_hold_the_lock(tmp_path):
    made = make(tmp_path / "store").write()
    lock = Path(made.path, "token_id/.lock")
    for folder in [lock, *lock.parents]:
        if tmp_path.parents[1] in folder.parents:
            folder.chmod(folder.stat().st_mode | 0o055 if folder.is_dir() else folder.stat().st_mode)
    program = f"import os, fcntl; os.setuid(65534); fcntl.flock(os.open({str(lock)!r}, os.O_RDONLY), fcntl.LOCK_SH)"
    assert "PermissionError" in subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stderr
    made.open_writer().close()


def test_a_message_never_names_a_process_that_is_gone(tmp_path):
    files = open_storage(str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock = files.lock("a/.lock")
    path = tmp_path / "a/.lock"
    held = path.read_text()
    assert str(os.getpid()) in held
    for stale in (
        held.replace(f'"pid": {os.getpid()}', f'"pid": {ended.pid}'),
        "",
        "nonsense",
        '{"pid": 1, "host": "elsewhere"}',
    ):
        path.write_text(stale)
        with pytest.raises(BusyError, match="has not said which it is"):
            files.lock("a/.lock")
    path.write_text(held)
    with pytest.raises(BusyError, match=f"pid {os.getpid()} "):
        files.lock("a/.lock")
    lock.release()
    assert path.read_text() == "", "whoever meets the next holder is not called with this one"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a user who may not read")
def test_permission_errors_are_messages(tmp_path):
    made = make(tmp_path / "store").write()
    files, key = open_storage(made.store), "model/corpus/zarr.json"
    calls = [
        lambda: files.read(key),
        lambda: list(files.list_keys("model")),
        lambda: files.lock("model/x/.lock"),
        lambda: files.write_atomic("model/y", [b"1"]),
        lambda: files.delete(key),
        lambda: files.list_folders("model"),
        lambda: files.size(key),
    ]
    for folder in [tmp_path, *tmp_path.parents][:3]:
        folder.chmod(0o755)
    Path(made.store, "model").chmod(0o700)
    os.seteuid(65534)
    try:
        for call in calls:
            with pytest.raises(StoreError, match="Permission denied; check the path and its permissions"):
                call()
    finally:
        os.seteuid(0)
