"""What all pages share: templates that escape everything, one style sheet, nothing loaded from anywhere."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from markupsafe import Markup

from multimodal_dql.report.texts import Texts
from multimodal_dql.report.usertext import language_of

__all__ = ["render_page"]

_HTML_LANG = {"en": "en", "zh": "zh-Hans"}


def render_page(template: str, t: Texts, *, styles: tuple[str, ...] = ("report.css",), **fields: Any) -> str:
    """One of the templates beside this module, filled in.

    Args:
        template: file name.
        t: the language of the page.
        styles: style sheets, put into the page one after the other.
        fields: what the template asks for; one that is missing is an error.
    """
    import jinja2

    templates = files("multimodal_dql.report") / "templates"
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: (templates / name).read_text("utf-8")),
    )
    environment.globals.update(t=t, language_of=language_of)
    css = "".join((templates / name).read_text("utf-8") for name in styles)
    return environment.get_template(template).render(
        html_lang=_HTML_LANG[t.lang],
        css=Markup(css),  # noqa: S704 - our own style sheets
        **fields,
    )
