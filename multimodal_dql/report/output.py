"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from multimodal_dql.errors import OutputError

__all__ = ["writable_folder", "write_text"]


def write_text(path: str | Path, text: str, encoding: str = "utf-8") -> Path:
    """Write `text` to `path` in one step, line ends as they are; missing folders are made. Returns the path.

    Raises:
        OutputError: the folder or the file cannot be written.

    """
    target = Path(path)
    # A lone surrogate (from a file name that is not UTF-8) must not cost the report.
    content = text.encode(encoding, errors="replace")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes private files; a report is an ordinary one
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(path=str(target), reason=error.strerror or str(error)) from error
    return target


def writable_folder(path: str | Path) -> Path:
    """Make a folder where it is missing, and try whether files can be made in it: before hours of work, not after.

    Raises:
        OutputError: it cannot be made, is a file, or takes no files.

    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:  # something of that name that is no folder
        raise OutputError(path=str(folder), reason=os.strerror(errno.ENOTDIR)) from error
    except OSError as error:
        raise OutputError(path=str(folder), reason=error.strerror or str(error)) from error
    return folder
