"""The licence of a model, read from the files beside it."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["LICENCE_FILES", "read_licence"]

LICENCE_FILES = ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")

_MAX_BYTES = 64 * 1024

_SPDX = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "cc0-1.0": "CC0-1.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "gpl-3.0": "GPL-3.0",
    "isc": "ISC",
}
"""As hubs write them -> as SPDX does; any other word is kept as it is."""

_PHRASES = (
    ("Apache License", "Apache-2.0"),
    ("MIT License", "MIT"),
    ("Permission is hereby granted, free of charge", "MIT"),
    ("Redistributions of source code must retain", "BSD-3-Clause"),
    ("ISC License", "ISC"),
)


def read_licence(folder: Path) -> str | None:
    """The licence that the front matter of ``README.md``, or else a ``LICENSE`` file, names; None if neither does."""
    head = _text(folder / LICENCE_FILES[0])
    if head.startswith("---"):
        # One line is looked for; a YAML reader would follow whatever else a stranger put there.
        front = head[3:].split("\n---", 1)[0]
        if found := re.search(
            r"^license:[ \t]*['\"]?([A-Za-z0-9][A-Za-z0-9.+-]{0,60})['\"]?[ \t]*$", front, re.M
        ):
            word = found.group(1)
            if word.lower() not in ("other", "unknown"):
                return _SPDX.get(word.lower(), word)
    for name in LICENCE_FILES[1:]:
        text = _text(folder / name)
        for phrase, licence in _PHRASES:
            if phrase in text:
                return licence
    return None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
