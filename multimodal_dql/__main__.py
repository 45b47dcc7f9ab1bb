"""``python -m multimodal_dql`` and the ``multimodal-dql`` command."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, NoReturn, cast

# Trouble of the machine while a result is written; any other OSError is a defect of ours and keeps its traceback.
_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def main() -> None:
    """Run the command line. Exit 0 done, 2 the user's input is wrong (one line on stderr), 1 our fault."""
    # TensorFlow greets on stderr with facts about the machine that no user of this program asked for.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A terminal that cannot show a character, or half of one in a file name, must not cost the result.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        _run()
    except Exception as error:
        # TensorFlow turns Ctrl-C into an error of its own while it compiles.
        if not _from_interrupt(error):
            raise
        _interrupted()
    except KeyboardInterrupt:
        _interrupted()


def _from_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is among the causes of an error."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _run() -> None:
    """Call the command; every mistake that has a name ends as one line on stderr."""
    import typer

    from multimodal_dql.cli import app, language
    from multimodal_dql.errors import MultimodalDQLError, OutputError

    # Typer raises the errors of click, its own copy or the installed one: reached through a name that is public.
    usage_error = cast("type[Exception]", typer.BadParameter.__mro__[1])
    try:
        status = app(prog_name="multimodal-dql", standalone_mode=False)
    except MultimodalDQLError as error:
        _fail(error.text(language()), error.exit_code)
    except usage_error as error:
        _fail(_usage(error), 2)
    except typer.Abort:
        _interrupted()
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        known = OutputError(path=error.filename or "-", reason=error.strerror)
        _fail(known.text(language()), known.exit_code)
    if status == 130:  # how typer reports Ctrl-C
        _interrupted()
    sys.exit(status or 0)


def _usage(error: Any) -> str:
    """The message of a wrong option or argument, and where the right ones are listed."""
    if type(error).__name__.startswith(
        "NoArgs"
    ):  # a bare command: the help, or nothing if it is printed already
        return str(error.format_message())
    command = error.ctx.command_path if error.ctx else "multimodal-dql"
    return f"{' '.join(error.format_message().split()).rstrip('.')}; see: {command} --help"


def _fail(message: str, status: int) -> NoReturn:
    if message:
        sys.stderr.write(message + "\n")
    sys.exit(status)


def _interrupted() -> NoReturn:
    _fail("interrupted", 130)


if __name__ == "__main__":
    main()
