"""`datasets list|show|check`."""

from __future__ import annotations

import typer

from multimodal_dql.commands.options import CatalogueArg, JsonOpt, LangOpt
from multimodal_dql.terminal import emit, language, table

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Data sets, and the check of your own catalogue.")


@app.command("list")
def list_(json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """The data sets that this package knows."""
    from multimodal_dql.datasets.cards import dataset_cards

    cards = dataset_cards()
    result = {"datasets": [card.model_dump(mode="json") for card in cards]}
    rows = [(card.name, card.title, card.licence) for card in cards]
    emit(json_output, result, lambda console: console.print(table(("data set", "title", "licence"), rows)))


@app.command("show")
def show(name: str, lang: LangOpt = "en") -> None:
    """What a data set is and how to get it."""
    from multimodal_dql.datasets.cards import dataset_card

    typer.echo(dataset_card(name).model_dump_json(indent=1))


@app.command("check")
def check(catalogue: CatalogueArg, json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """Data-quality report of a catalogue; exits 2 when something must be fixed."""
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.datasets.quality import check_catalogue
    from multimodal_dql.terminal import print_quality

    report = check_catalogue(read_catalogue(catalogue))
    emit(json_output, report.as_dict(), lambda console: print_quality(report, console, language()))
    if report.must_fix:
        raise typer.Exit(2)
