"""Changes of other packages, each made only to what it was tried with.

`odc_bdc.ows.patches` holds those that serving needs, `odc_bdc.plain_datacube` those that every
program needs; nothing else changes another package.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Change:
    """An attribute of another package that is put in the place of what is there.

    Attributes
    ----------
    target
        ``module:name``, where the name may be that of an attribute of a class.
    known
        Digests (`digest_of`) of what it was tried with.
    wrap
        Makes the new attribute of the old one.
    """

    target: str
    known: tuple[str, ...]
    wrap: Callable[[Any], Any]

    def owner(self) -> tuple[Any, str]:
        """Give the module or class that has the attribute, and the attribute's name.

        Raises
        ------
        ImportError, AttributeError
            If there is no such thing.
        """
        module, _, name = self.target.partition(":")
        owner: Any = import_module(module)
        *classes, last = name.split(".")
        for part in classes:
            owner = getattr(owner, part)
        getattr(owner, last)
        return owner, last

    def is_known(self) -> bool:
        """Tell whether what is there now is what the change was tried with."""
        try:
            return digest_of(getattr(*self.owner())) in self.known
        except (ImportError, AttributeError, OSError, TypeError, SyntaxError):
            return False

    def apply(self) -> None:
        """Put the new attribute in place."""
        owner, name = self.owner()
        setattr(owner, name, self.wrap(getattr(owner, name)))


def digest_of(thing: Any) -> str:
    """Give the digest of the source of a function or property, whatever its comments and layout."""
    function: Any = thing.fget if isinstance(thing, property) else thing
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]
