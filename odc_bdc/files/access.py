"""How to get at files that not everybody may read: by names only, never by secrets.

A rule names a variable of the environment, or a function that signs addresses. It can be written
into a recipe, sent to workers and shown; the secret itself is only where the file is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from odc_bdc.document import Faults, check_against_schema, read_document
from odc_bdc.errors import InvalidValueError
from odc_bdc.indexing.sources.access import AccessToken

ACCESS_VARIABLE = "ODC_BDC_ACCESS"
"""Environment variable that names a YAML file of rules; the command line reads it."""

_SCHEMA = ("odc_bdc.files", "access.schema.yaml")


@dataclass(frozen=True, slots=True)
class AccessRule:
    """What opens the addresses that begin alike.

    Attributes
    ----------
    prefix
        Of addresses: scheme, host, and a part of the path or none.
    sign
        ``module:function`` that gives the address as it is asked for: ``planetary_computer:sign``.
    token
        Variable of the environment that holds a token. Its name begins with ``ODC_BDC_``, so that
        no rule that somebody wrote into a recipe sends off another secret of the process.
    sent_as
        ``header``, or ``query`` for a parameter of the address.
    name
        Of the header or parameter; None for ``x-api-key`` and ``access_token``.
    scheme
        Written before the token in a header: ``Bearer``.
    """

    prefix: str
    sign: str | None = None
    token: str | None = None
    sent_as: Literal["header", "query"] = "header"
    name: str | None = None
    scheme: str | None = None

    def covers(self, href: str) -> bool:
        """Tell if an address is meant: the same host and port, and a path that begins so."""
        mine, asked = urlsplit(self.prefix), urlsplit(href)
        return (mine.scheme, mine.netloc.lower()) == (
            asked.scheme.lower(),
            asked.netloc.lower(),
        ) and asked.path.startswith(mine.path)

    def access_token(self, environ: Mapping[str, str]) -> AccessToken | None:
        """Give the token that the rule names.

        Raises
        ------
        InvalidValueError
            If the environment has none, or it cannot be one.
        """
        if self.token is None:
            return None
        value = environ.get(self.token, "")
        if not value:
            raise InvalidValueError(
                f"{self.prefix}: files there need an access token; set {self.token}"
            )
        try:
            return AccessToken(value, self.sent_as, self.name, self.scheme, self.token)
        except InvalidValueError as e:
            raise InvalidValueError(f"{self.token}: {e}") from e


@dataclass(frozen=True, slots=True)
class Access:
    """How to get at files, each by the rule with the longest prefix; others are open to all.

    Attributes
    ----------
    rules
        No two of one prefix.
    """

    rules: tuple[AccessRule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rules)

    def rule(self, href: str) -> AccessRule | None:
        """Give the rule for an address."""
        fitting = [rule for rule in self.rules if rule.covers(href)]
        return max(fitting, key=lambda rule: len(rule.prefix), default=None)

    def to_dict(self) -> dict[str, dict[str, str]]:
        """Give the rules by their prefix, as YAML or JSON has them."""
        names = ("sign", "token", "sent_as", "name", "scheme")
        return {
            rule.prefix: {
                name: value
                for name in names
                if (value := getattr(rule, name)) is not None
                and (name != "sent_as" or (rule.token and value != "header"))
            }
            for rule in self.rules
        }

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any], where: str = "access") -> Self:
        """Make it from rules by their prefix; `where` names them in messages.

        Raises
        ------
        InvalidValueError
            One line for each fault.
        """
        return cls._checked(doc, Faults(where))

    @classmethod
    def _checked(cls, doc: Any, faults: Faults) -> Self:
        check_against_schema(doc, *_SCHEMA, faults)
        faults.check()
        rules = tuple(AccessRule(prefix, **rule) for prefix, rule in doc.items())
        for rule in rules:
            if rule.prefix.startswith("s3:") and rule.token:
                faults.add((rule.prefix, "token"), "buckets take no token: see AWS_ACCESS_KEY_ID")
            if rule.token is None and (rule.name or rule.scheme):
                faults.add((rule.prefix,), "`name` and `scheme` are of a `token`")
            if rule.scheme and rule.sent_as != "header":
                faults.add((rule.prefix, "scheme"), "is of a header")
        faults.check()
        return cls(rules)


def read_access(path: Path | str) -> Access:
    """Read rules from a YAML file.

    Raises
    ------
    InvalidValueError
        If it cannot be read; one line for each fault.
    """
    doc, faults = read_document(Path(path))
    return Access._checked(doc, faults)  # noqa: SLF001 (its own module)
