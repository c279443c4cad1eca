"""What has a name is on the disk: bytes are synced before the rename, and every folder after an entry of it changed."""

import os

import pytest

from ie_store.store.files.local import LocalStorage

PIECES = [b"some ", memoryview(b"bytes")]


@pytest.fixture
def calls(monkeypatch):
    """(function, inode of its descriptor, size then) of every sync, and of every change of a folder, in order."""
    seen = []

    def noting(name, descriptor_of):
        real = getattr(os, name)

        def noted(*arguments, **options):
            stat = os.fstat(descriptor_of(arguments, options))
            seen.append((name, stat.st_ino, stat.st_size))
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, noted)

    noting("fsync", lambda arguments, _: arguments[0])
    noting("rename", lambda _, options: options["dst_dir_fd"])
    noting("unlink", lambda _, options: options["dir_fd"])
    noting("mkdir", lambda _, options: options["dir_fd"])
    return seen


def test_bytes_are_on_the_disk_before_they_have_their_name(tmp_path, calls):
    assert LocalStorage(str(tmp_path)).write_atomic("a.txt", PIECES) == 10
    (sync, file, size), (rename, folder, _), (again, synced, _) = calls
    assert (sync, rename, again) == ("fsync", "rename", "fsync")
    assert (file, size) == ((tmp_path / "a.txt").stat().st_ino, 10)
    assert folder == synced == tmp_path.stat().st_ino


def test_a_new_folder_is_on_the_disk_before_anything_in_it(tmp_path, calls):
    LocalStorage(str(tmp_path)).write_atomic("one/two/a.txt", PIECES)
    one, two = (tmp_path / name for name in ("one", "one/two"))
    made = [(name, inode) for name, inode, _ in calls if inode != (two / "a.txt").stat().st_ino]
    assert made == [
        (name, folder.stat().st_ino) for folder, change in ((tmp_path, "mkdir"), (one, "mkdir"), (two, "rename"))
        for name in (change, "fsync")
    ]  # fmt: skip


def test_a_write_that_fails_leaves_no_name(tmp_path, calls):
    def pieces():
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalStorage(str(tmp_path)).write_atomic("a.txt", pieces())
    assert [name for name, *_ in calls] == ["unlink"]
    assert list(tmp_path.iterdir()) == []


def test_a_removal_is_on_the_disk(tmp_path, calls):
    files = LocalStorage(str(tmp_path))
    files.write_atomic("a.txt", PIECES)
    calls.clear()
    files.delete("a.txt")
    assert [name for name, *_ in calls] == ["unlink", "fsync"]
    assert {inode for _, inode, _ in calls} == {tmp_path.stat().st_ino}
