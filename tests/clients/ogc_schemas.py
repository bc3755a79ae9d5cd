"""Documents against the schemas of the OGC, which lie in `schemas`; the network is not asked."""

from __future__ import annotations

import tarfile
from functools import cache
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from lxml import etree

ARCHIVE = Path(__file__).with_name("schemas") / "ogc_schemas.tar.xz"
HOST = "schemas.opengis.net"


@cache
def _archive() -> dict[str, bytes]:
    """Read all schemas, by host and path."""
    with tarfile.open(ARCHIVE) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


class _Vendored(etree.Resolver):
    """Gives schemas from the archive, whatever host they would be asked of."""

    def resolve(self, url, _public_id, context):
        parts = urlsplit(url)
        # Some schemas name others by an older host.
        host = parts.netloc.replace("www.opengis.net", HOST)
        if not host:
            return None
        return self.resolve_string(_archive()[host + parts.path], context, base_url=url)


@cache
def _rules(path: str) -> etree.XMLSchema | etree.DTD:
    text = _archive()[f"{HOST}/{path}"]
    if path.endswith(".dtd"):
        return etree.DTD(BytesIO(text))
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Vendored())
    return etree.XMLSchema(etree.fromstring(text, parser, base_url=f"http://{HOST}/{path}"))


def faults(body: bytes, path: str) -> list[str]:
    """Validate a document; give what is wrong with it.

    Parameters
    ----------
    body
        The document.
    path
        Of the schema (``.xsd``) or document type (``.dtd``) below that of the OGC.
    """
    rules = _rules(path)
    rules.validate(etree.fromstring(body, etree.XMLParser(no_network=True, load_dtd=False)))
    return [f"line {e.line}: {e.message}" for e in rules.error_log.filter_from_errors()]
