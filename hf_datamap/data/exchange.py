"""Replace files of a folder in one step: a reader sees all old ones or all new ones, whenever the writer dies.

New files are written to a folder of their own inside the target. Renaming that folder to ``.datamap-next`` is the one
step that decides: from then on the new files are the content of the target, even while some of them still wait in
``.datamap-next`` to be moved into place. `settle` moves them; every reader and every writer calls it first, so a writer
that died half-way is finished by whoever comes next. What a dead writer had not yet published is deleted.

This protects against the death of a process, not against a power cut: nothing is forced to the disk.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hf_datamap.errors import SourceError

if sys.platform != "win32":  # there, writers of one folder are not kept apart
    import fcntl

NEXT: Final = ".datamap-next"
_UNPUBLISHED: Final = ".datamap-new-"
_REPLACED: Final = ".replaced-"
_REMOVED: Final = ".removed-"


def settle(folder: Path) -> None:
    """Finish an exchange of files that another process began and did not end; usually there is none.

    Raises:
        SourceError: there is one, and the folder cannot be written to.
    """
    if not (folder / NEXT).is_dir():
        return
    try:
        with _locked(folder, wait=True):
            _move_into_place(folder)
    except OSError as error:
        raise SourceError(
            f"{folder} was being replaced when the process that wrote it ended, and that cannot be finished "
            f"({error.strerror or error}): make the folder writable, or copy it with its hidden folder {NEXT}"
        ) from None


def is_vacant(folder: Path) -> bool:
    """Whether a folder is missing, or holds nothing but what a writer that died left behind."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(entry.name.startswith(_UNPUBLISHED) for entry in folder.iterdir())


def remove_leftovers(folder: Path) -> None:
    """Delete what writers that died before publishing left in a folder."""
    if not folder.is_dir():
        return
    for leftover in folder.glob(f"{_UNPUBLISHED}*"):
        try:
            with _locked(leftover, wait=False):  # a living writer holds the lock
                shutil.rmtree(leftover, ignore_errors=True)
        except OSError:
            continue


@contextmanager
def replaced_together(
    folder: Path, *, needed_bytes: int | None = None, obsolete: Collection[str] = ()
) -> Iterator[Path]:
    """Give a folder to write to; its entries then take the place of those of the same name in ``folder``, in one step.

    Other entries of ``folder`` stay. After an error nothing has changed.

    Args:
        folder: the target, made if needed.
        needed_bytes: how much the new files need at most, for the error of a full disk.
        obsolete: names of entries that go where the new state has none of that name.

    Raises:
        SourceError: the folder cannot be written to, or its disk is full.
    """
    try:
        existed = folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        settle(folder)
        remove_leftovers(folder)
        unpublished = Path(tempfile.mkdtemp(prefix=_UNPUBLISHED, dir=folder))
        try:
            with _locked(unpublished, wait=False):
                unpublished.chmod(0o755)
                yield unpublished
                for name in obsolete:
                    if not os.path.lexists(unpublished / name):
                        (unpublished / f"{_REMOVED}{name}").touch()
                with _locked(folder, wait=True):
                    _move_into_place(folder)  # of a writer that published meanwhile
                    unpublished.rename(folder / NEXT)
                    _move_into_place(folder)
        finally:
            shutil.rmtree(unpublished, ignore_errors=True)
            if not existed and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise _unwritable(folder, error, needed_bytes) from None


def _move_into_place(folder: Path) -> None:
    """Move what waits in ``.datamap-next`` into place; may be stopped and repeated at any point."""
    waiting = folder / NEXT
    if not waiting.is_dir():
        return
    for entry in sorted(waiting.iterdir()):
        if entry.name.startswith(_REPLACED):
            continue
        name = entry.name.removeprefix(_REMOVED)
        target = folder / name
        # A folder that is not empty cannot be renamed over.
        if os.path.lexists(target) and (name != entry.name or (target.is_dir() and not target.is_symlink())):
            target.rename(Path(tempfile.mkdtemp(prefix=_REPLACED, dir=waiting)) / name)
        if name == entry.name:
            entry.replace(target)
    shutil.rmtree(waiting)


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a folder, which the system releases when a process dies.

    Raises:
        OSError: ``wait`` is False and another process holds it.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):  # a file system without locks
                raise
        yield
    finally:
        os.close(descriptor)


def _unwritable(folder: Path, error: OSError, needed_bytes: int | None) -> SourceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        need = f"needs up to {_size(needed_bytes)}" if needed_bytes else "needs more"
        try:
            free = f", {_size(shutil.disk_usage(folder if folder.exists() else folder.parent).free)} are free"
        except OSError:
            free = ""
        return SourceError(
            f"the disk of {folder} is full: what is to be written {need}{free}. The folder is as it was; make room, "
            "or name another one, and run the same again"
        )
    return SourceError(f"cannot write {folder}: {error.strerror or error}. The folder is as it was; name another one")


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{max(nbytes, 1_000) / 1e6:.3g} MB"
