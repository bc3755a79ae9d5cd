"""WSGI middleware that serves the page at ``/`` and its files."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.landing.words import NAMES, words_in
from odc_bdc.ows.languages import LANGUAGES, language_of
from odc_bdc.ows.requests import protocol_of, query_if_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from odc_bdc.ows.requests import WSGI

    Headers = list[tuple[str, str]]

FILES = "/page/"
"""Below it lie the page's files: ``/page/VERSION/NAME``, and ``/page/layers.LANGUAGE.json``."""

# Legends come as blobs, for they are asked for in the page's language.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""The page's Content-Security-Policy: no inline script or style, no other host."""

_TYPES = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_SAFE = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin")]
_FOREVER = "public, max-age=31536000, immutable"


class Landing:
    """Answers requests for the page; all others are passed on.

    Parameters
    ----------
    application
        The services.
    describe
        Gives the document of `odc_bdc.ows.landing.catalogue` in a language, and whether it may be
        kept as long as its version holds.
    title
        Title and abstract of the services in a language.
    documentation
        Address of the documentation; empty if there is none to link to.
    version
        Tells what documents are made of; None if nobody knows.
    """

    def __init__(
        self,
        application: WSGI,
        describe: Callable[[str], tuple[Mapping[str, Any], bool]],
        title: Callable[[str], tuple[str, str]],
        documentation: str = "",
        version: Callable[[], str | None] = lambda: "",
    ) -> None:
        self.application = application
        self.describe = describe
        self.title = title
        self.documentation = documentation
        self.version = version
        self.kept: dict[str, tuple[str, bytes]] = {}

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer with the page, one of its files, or what the application answers."""
        path = str(environ.get("PATH_INFO", ""))
        if environ.get("REQUEST_METHOD", "GET") not in {"GET", "HEAD"}:
            return self.application(environ, start_response)
        if not path and environ.get("SCRIPT_NAME"):
            # Relative addresses need the slash.
            place = str(environ["SCRIPT_NAME"]).rpartition("/")[2] + "/"
            found = _Answer("308 Permanent Redirect", [("Location", place)], b"")
        elif path.startswith(FILES):
            found = self._file(path.removeprefix(FILES), environ)
        elif path == "/" and _is_for_people(environ):
            found = self._page(environ)
        else:
            return self.application(environ, start_response)
        headers = [*found.headers, ("Content-Length", str(len(found.body)))]
        start_response(found.status, headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [found.body]

    def _page(self, environ: Mapping[str, Any]) -> _Answer:
        query = query_if_readable(environ)
        asked = query.get("lang") if query else ""
        language = asked if asked in LANGUAGES else language_of(environ)
        title, about = self.title(language)
        words = words_in(language)
        body = _template().render(
            language=language,
            languages=NAMES,
            title=title,
            about=about,
            words=words,
            words_json=json.dumps(words, ensure_ascii=False),
            files=f"{FILES.lstrip('/')}{static_version()}/",
            catalogue=f"{FILES.lstrip('/')}layers.{language}.json",
            documentation=self.documentation,
        )
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Language", language),
            ("Vary", "Accept-Language"),
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", POLICY),
            *_SAFE,
        ]
        return _Answer("200 OK", headers, body.encode())

    def _file(self, name: str, environ: Mapping[str, Any]) -> _Answer:
        for language in LANGUAGES:
            if name == f"layers.{language}.json":
                return _text("json", self._catalogue(language), environ, "no-cache")
        version, _, file = name.partition("/")
        body = static_files().get(file)
        if body is None:
            headers = [("Content-Type", "text/plain; charset=utf-8"), *_SAFE]
            return _Answer("404 Not Found", headers, b"There is no such file.\n")
        # Who still has an older page gets the files of today, and keeps them no longer than that.
        lasting = _FOREVER if version == static_version() else "no-cache"
        return _text(file.rpartition(".")[2], body, environ, lasting)

    def _catalogue(self, language: str) -> bytes:
        version = self.version()
        kept = self.kept.get(language)
        if kept and version in {None, kept[0]}:
            return kept[1]
        document, may_be_kept = self.describe(language)
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        if may_be_kept and version is not None:
            self.kept[language] = (version, body)
        return body


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    headers: Headers
    body: bytes


def _text(kind: str, body: bytes, environ: Mapping[str, Any], lasting: str) -> _Answer:
    headers = [("Content-Type", _TYPES[kind]), ("Cache-Control", lasting), *_SAFE]
    headers.append(("Vary", "Accept-Encoding"))
    if "gzip" in str(environ.get("HTTP_ACCEPT_ENCODING", "")):
        headers.append(("Content-Encoding", "gzip"))
        body = _compressed(body)
    return _Answer("200 OK", headers, body)


@lru_cache(maxsize=32)
def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def _is_for_people(environ: Mapping[str, Any]) -> bool:
    query = query_if_readable(environ)
    return query is not None and protocol_of("/", query) is None


@cache
def static_files() -> dict[str, bytes]:
    """Give the page's files by name."""
    folder = files("odc_bdc.ows.landing") / "static"
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }


@cache
def static_version() -> str:
    """Give a name of all files' content, which changes whenever one of them does."""
    digest = hashlib.blake2b(digest_size=6)
    for name, body in sorted(static_files().items()):
        digest.update(name.encode() + b"\0" + body)
    return digest.hexdigest()


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 (an extra)

    env = Environment(
        loader=PackageLoader("odc_bdc.ows"), autoescape=True, undefined=StrictUndefined
    )
    return env.get_template("landing.html")
