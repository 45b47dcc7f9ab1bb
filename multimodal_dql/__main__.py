"""``python -m multimodal_dql`` and the ``multimodal-dql`` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line. Exit 0 done, 2 the user's input is wrong (one line on stderr), 1 our fault."""
    # TensorFlow greets on stderr with facts about the machine that no user of this program asked for.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from multimodal_dql.cli import app, language
    from multimodal_dql.errors import MultimodalDQLError

    try:
        app(prog_name="multimodal-dql")
    except MultimodalDQLError as error:
        sys.stderr.write(error.text(language()) + "\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
