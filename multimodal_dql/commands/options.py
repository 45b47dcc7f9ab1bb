"""Options that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from multimodal_dql.terminal import set_language

__all__ = [
    "DEFAULT_ENCODERS",
    "AssumeOpt",
    "CardsOpt",
    "CatalogueArg",
    "EncodersOpt",
    "EngagementOpt",
    "JsonOpt",
    "LangOpt",
    "OutOpt",
    "SeedOpt",
    "StrictOpt",
]

CatalogueArg = Annotated[
    Path, typer.Argument(metavar="CATALOGUE", help="CSV, JSONL or Parquet, one row a variant.")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
LangOpt = Annotated[
    str,
    typer.Option(
        "--lang", callback=set_language, envvar="MULTIMODAL_DQL_LANG", help="en or zh.", is_eager=True
    ),
]
SeedOpt = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of everything random.")]
StrictOpt = Annotated[bool, typer.Option("--strict", help="Stop at the first file that cannot be used.")]
EncodersOpt = Annotated[
    str, typer.Option("--encoders", help="Names, or folders with cards (with a /), separated by commas.")
]
CardsOpt = Annotated[
    str | None,
    typer.Option(
        "--encoders", metavar="DIR", help="Folder with the cards it was trained with, if not your own."
    ),
]
AssumeOpt = Annotated[
    list[str] | None,
    typer.Option("--assume", metavar="NAME=VALUE", help="A parameter of the engagement model; repeatable."),
]
EngagementOpt = Annotated[
    Path | None,
    typer.Option(
        "--engagement", metavar="RUN", help="A model of clicks fitted to A/B tests (engagement fit)."
    ),
]
OutOpt = Annotated[Path | None, typer.Option("--out", help="Folder for the results.")]
DEFAULT_ENCODERS = "use-multilingual,efficientnet-lite0,speech-embedding"
