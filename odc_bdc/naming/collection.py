"""Names of collections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from odc_bdc.errors import InvalidValueError
from odc_bdc.naming.grammar import compiled, explained
from odc_bdc.timeline import Unit

Generation: TypeAlias = Literal["2020", "V1", "V2", "ODC"]
"""Whose rules the names of a collection's items follow; those of 2020 have no version."""

_INTEGER = r"(?: 0 | [1-9]\d* )"
_NUMBER = rf"{_INTEGER} (?: \.\d+ )*"
_STEP = r"(?P<step> [1-9]\d* ) (?P<unit> [DMY] )"
_RESOLUTION = r"(?P<resolution> [1-9]\d* )"
_UNITS: dict[str, Unit] = {"D": "day", "M": "month", "Y": "year"}

_COLLECTION = compiled(
    rf"""
    (?P<name> .+? )
    (?: -  (?P<version> {_NUMBER} )  # S2-16D-2, mod13q1-6.1
      | _v (?P<odc> {_INTEGER} )     # CB4_64_16D_STK_v1
    )?
    """
)
_WORDS = compiled(r"[A-Za-z] [A-Za-z0-9]* (?: [_-] [A-Za-z0-9]+ )*")
_ENDS_LIKE_A_VERSION = compiled(r".* (?: -\d+ | _[vV]\d+ )")
_VERSION = compiled(_NUMBER)
_ODC_VERSION = compiled(r"\d{1,2}")  # three digits behind _v are of V1

# CB4_64_16D_STK, S2-SEN2COR_10_16D_STK, S2_31UES_10_16D_STK
_COMPOSITE = compiled(
    rf"(?P<satellite> .+ ) _ {_RESOLUTION} _ {_STEP} _ (?P<function> [A-Z]{{3}} )"
)
# CB4_64, CB4MOSBR_64
_IDENTITY = compiled(rf"(?P<satellite> [^_]+ ) _ {_RESOLUTION}")
# S2-16D, CBERS4-WFI-16D
_COMPOSITE_V2 = compiled(rf"(?P<satellite> [A-Z][A-Z0-9]* (?: -[A-Z0-9]+ )* ) - {_STEP}")


def product_name(collection: str) -> str:
    r"""Give the ODC product name of a STAC collection: what ODC forbids becomes ``_``.

    ODC takes names that match ``^\w+$`` (the schema of its product documents). Which ``_`` was
    another character before cannot be told from the product name.

    Raises
    ------
    InvalidValueError
        If `collection` is empty.

    Examples
    --------
    >>> product_name("CB4_64_16D_STK-1"), product_name("mod13q1-6.1")
    ('CB4_64_16D_STK_1', 'mod13q1_6_1')
    """
    if not collection:
        raise InvalidValueError("a collection without a name has no product name")
    return re.sub(r"\W", "_", collection)


@dataclass(frozen=True, slots=True)
class CollectionName:
    """The id of a collection: a cube of any generation, or other images.

    What the name of a cube tells of it are properties; those are None where the name is silent.

    Attributes
    ----------
    name
        Without version.
    version
        As in the id (``1``, ``6.1``); None where the id has none.
    odc
        The version is written ``_v1``, as in names of ODC products, not ``-1``.

    Raises
    ------
    InvalidValueError
        If the parts do not make a name that can be read again.

    Examples
    --------
    >>> cube = CollectionName.parse("S2-SEN2COR_10_16D_STK-1")
    >>> cube.satellite, cube.resolution, cube.step, cube.unit, cube.function, cube.version
    ('S2-SEN2COR', 10, 16, 'day', 'STK', '1')
    >>> cube.product_name
    'S2_SEN2COR_10_16D_STK_1'
    """

    name: str
    version: str | None = None
    odc: bool = False

    def __post_init__(self) -> None:
        if not _WORDS.fullmatch(self.name):
            raise InvalidValueError(
                f"{self.name!r} is not words of letters and digits, joined by - or _"
            )
        if _ENDS_LIKE_A_VERSION.fullmatch(self.name):
            raise InvalidValueError(
                f"{self.name!r} ends like a version, which is written -1, -6.1 or _v1"
            )
        if self.version is not None and not _VERSION.fullmatch(self.version):
            raise InvalidValueError(f"version {self.version!r} is not a number")
        if self.odc and not _ODC_VERSION.fullmatch(self.version or ""):
            raise InvalidValueError(f"version {self.version!r} behind _v is not 0 to 99")
        if self.odc and "-" in self.name:
            raise InvalidValueError("a name that ends in _v<version> is of ODC, and may hold no -")

    @classmethod
    def parse(cls, text: str) -> CollectionName:
        """Read the id of a collection; `InvalidValueError` shows the grammar.

        Ids of scenes and maps are read too: any words with a version or without.
        """
        with explained("collection", text):
            return read_collection(text)

    def __str__(self) -> str:
        if self.version is None:
            return self.name
        return f"{self.name}{'_v' if self.odc else '-'}{self.version}"

    @property
    def generation(self) -> Generation:
        """Whose rules the names of items follow."""
        if _COMPOSITE_V2.fullmatch(self.name):
            return "V2"
        if self.version is None:
            return "2020"
        return "ODC" if self.odc else "V1"

    @property
    def product_name(self) -> str:
        """Name as an ODC product, see `product_name`."""
        return product_name(str(self))

    @property
    def satellite(self) -> str | None:
        """Satellite as the name has it, often with sensor or processor: ``CBERS4-WFI``."""
        return self._part("satellite")

    @property
    def resolution(self) -> int | None:
        """Pixel size in metres; names of V2 have none."""
        found = self._part("resolution")
        return int(found) if found else None

    @property
    def step(self) -> int | None:
        """Length of a period in `unit`."""
        found = self._part("step")
        return int(found) if found else None

    @property
    def unit(self) -> Unit | None:
        """Unit of `step`."""
        found = self._part("unit")
        return _UNITS[found] if found else None

    @property
    def function(self) -> str | None:
        """Composite function as written, for `composite_function`; names of V2 have none."""
        return self._part("function")

    @property
    def is_identity(self) -> bool:
        """Whether the name is of a cube whose images are not composites: ``LC8_30-1``."""
        return self.resolution is not None and self.step is None

    def _part(self, part: str) -> str | None:
        for form in (_COMPOSITE, _IDENTITY, _COMPOSITE_V2):
            if found := form.fullmatch(self.name):
                return found.groupdict().get(part)
        return None


def read_collection(text: str) -> CollectionName:
    """Read the id of a collection; errors do not show the grammar."""
    found = _COLLECTION.fullmatch(text)
    if found is None:
        raise InvalidValueError("it is empty or has a line break")
    version = found["version"] or found["odc"]
    return CollectionName(found["name"], version, odc=found["odc"] is not None)
