"""How to get at files that not everybody may read: by names only, never by secrets.

A rule names a variable of the environment, or a function that signs addresses. It can be sent to
workers and shown; the secret itself is only where the file is opened. Rules come from the file of
who runs a program (`access_of`), or from Python: never from what is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from odc_bdc.document import Faults, check_against_schema, read_document
from odc_bdc.errors import InvalidValueError, OdcBdcError
from odc_bdc.indexing.sources.access import AccessToken
from odc_bdc.plugins import SIGNERS, plugin

ACCESS_VARIABLE = "ODC_BDC_ACCESS"
"""Environment variable that names a YAML file of rules: of commands, servers and workers."""

_SCHEMA = ("odc_bdc.files", "access.schema.yaml")

Signer: TypeAlias = Callable[[str], str]
"""Gives the signed address of an address."""


@dataclass(frozen=True, slots=True)
class AccessRule:
    """What opens the addresses that begin alike.

    Attributes
    ----------
    prefix
        Of addresses: scheme, host, and a part of the path or none.
    sign
        What gives the address as it is asked for: name of an entry point of the group
        ``odc_bdc.signers`` (`odc_bdc.plugins`), as ``planetary-computer``, or a function.
    token
        Variable of the environment that holds a token. Its name begins with ``ODC_BDC_``, so that
        no rule sends off another secret of the process.
    sent_as
        ``header``, or ``query`` for a parameter of the address.
    name
        Of the header or parameter; None for ``x-api-key`` and ``access_token``.
    scheme
        Written before the token in a header: ``Bearer``.
    """

    prefix: str
    sign: str | Signer | None = None
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

    @property
    def signed_by(self) -> str:
        """What people are told of who signs; empty if nobody does."""
        return getattr(self.sign, "__qualname__", None) or str(self.sign or "")

    def signer(self) -> Signer | None:
        """Give the function that signs.

        Raises
        ------
        UnknownNameError
            If none is installed under the name.
        InvalidValueError
            If it cannot be imported.
        """
        if self.sign is None or callable(self.sign):
            return self.sign
        try:
            found: Signer = plugin(SIGNERS, self.sign)
        except OdcBdcError as e:
            raise type(e)(f"`sign` {e}") from e
        return found

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

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Give the rules by their prefix, as YAML has them; functions that sign stay functions."""
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

        Here, and not in a file, `sign` may be a function.

        Raises
        ------
        InvalidValueError
            One line for each fault.
        """
        given = {
            prefix: rule["sign"]
            for prefix, rule in doc.items()
            if isinstance(rule, Mapping) and callable(rule.get("sign"))
        }
        named = {k: {**rule, "sign": "given"} if k in given else rule for k, rule in doc.items()}
        read = cls._checked(named, Faults(where))
        rules = (replace(r, sign=given.get(r.prefix, r.sign)) for r in read.rules)
        return cls(tuple(rules))

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


def access_of(environ: Mapping[str, str]) -> Access:
    """Read the rules of the file that the environment names; none if it names none.

    Raises
    ------
    InvalidValueError
        As `read_access`.
    """
    path = environ.get(ACCESS_VARIABLE)
    return read_access(path) if path else Access()
