"""Texts in English and Portuguese: which one a client gets, its header ``Accept-Language`` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.requests import Query, operation_of, query_if_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from odc_bdc.ows.requests import WSGI

LANGUAGES = ("en", "pt")
"""The first is that of clients that ask for no known one."""

DOMAIN = "odc_bdc"


@dataclass(frozen=True, slots=True)
class Text:
    """A text in both languages."""

    en: str
    pt: str

    @classmethod
    def of(cls, texts: Mapping[str, str], fallback: str = "") -> Text:
        """Read a text by language, as cube definitions have it; English where there is no other.

        Examples
        --------
        >>> Text.of({"en": "Median"})
        Text(en='Median', pt='Median')
        """
        english = texts.get("en") or texts.get("pt") or fallback
        return cls(english, texts.get("pt") or english)

    @classmethod
    def same(cls, text: str) -> Text:
        """Give a text that is the same in both, such as a name."""
        return cls(text, text)

    def __str__(self) -> str:
        return self.en


@dataclass(slots=True)
class Translations:
    """Collects the texts of a configuration, which holds the English ones.

    Attributes
    ----------
    portuguese
        By the English text.
    """

    portuguese: dict[str, str] = field(default_factory=dict)

    def plain(self, part: Any) -> Any:
        """Give a part of a configuration with each `Text` in English, and note the Portuguese."""
        if isinstance(part, Text):
            if part.pt != part.en:
                self.portuguese[part.en] = part.pt
            return part.en
        if isinstance(part, dict):
            return {key: self.plain(value) for key, value in part.items()}
        if isinstance(part, (list, tuple)):
            return [self.plain(value) for value in part]
        return part


def in_language(part: Any, language: str) -> Any:
    """Give a part of a configuration with each `Text` in one of `LANGUAGES`."""
    if isinstance(part, Text):
        return getattr(part, language)
    if isinstance(part, dict):
        return {key: in_language(value, language) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [in_language(value, language) for value in part]
    return part


def install_translations(
    app: Any, labels: Mapping[str, str], portuguese: Mapping[str, str]
) -> None:
    """Make an application of datacube-ows answer in Portuguese where that is asked for.

    datacube-ows looks texts up with Flask-Babel, by labels such as ``layer.NAME.title``; those of
    a configuration that is made from cubes are in no file, so they are given to it here.

    Parameters
    ----------
    app
        The Flask application.
    labels
        English text by label.
    portuguese
        Portuguese text by English text.
    """
    if "babel" not in app.extensions:
        return
    from babel.support import Translations as Catalogue  # noqa: PLC0415 (an extra)

    catalogue = Catalogue()
    catalogue._catalog = {  # noqa: SLF001 (filled from a file only)
        label: portuguese[text] for label, text in labels.items() if text in portuguese
    }
    with app.app_context():
        domain = app.extensions["babel"].instance.domain_instance
    for language in LANGUAGES[1:]:
        domain.cache[language, domain.domain[0]] = catalogue


class Languages:
    """WSGI middleware that tells caches which answers depend on the language."""

    _DEPEND = frozenset(
        {"getcapabilities", "describecoverage", "getlegendgraphic", "getfeatureinfo"}
    )

    def __init__(self, application: WSGI) -> None:
        self.application = application

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass the request on; ``Vary`` stands in the answer if it has texts."""
        path = str(environ.get("PATH_INFO", ""))
        operation = operation_of(query_if_readable(environ) or Query(()))
        texts = operation in self._DEPEND or path.startswith("/legend/")
        if not texts:
            return self.application(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, ("Vary", "Accept-Language")], *more)

        return self.application(environ, start)


def language_of(environ: Mapping[str, Any]) -> str:
    """Give the language that a client prefers of those there are; English if it has no wish."""
    from werkzeug.datastructures import LanguageAccept  # noqa: PLC0415 (an extra)
    from werkzeug.http import parse_accept_header  # noqa: PLC0415 (an extra)

    wish = parse_accept_header(environ.get("HTTP_ACCEPT_LANGUAGE"), LanguageAccept)
    return str(wish.best_match(LANGUAGES, default=LANGUAGES[0]))
