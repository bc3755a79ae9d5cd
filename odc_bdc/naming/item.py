"""Names of items, of their files and of their folders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from odc_bdc.errors import InvalidValueError
from odc_bdc.naming.collection import CollectionName, read_collection
from odc_bdc.naming.grammar import compiled, explained
from odc_bdc.naming.ids import join_item_id, period_folder
from odc_bdc.timeline import Period

_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_DATE = rf"(?: {_ISO_DATE} | \d{{8}} )"

_ITEM = compiled(
    rf"""
    (?P<stem> .+? )                        # cube, with its version if it has one
    _ (?P<tile> (?! {_ISO_DATE} ) [^_]+ )
    _ (?P<start> {_DATE} )
    (?: _ (?P<end> {_DATE} ) )?
    """
)
_VERSIONED_STEM = compiled(
    r"""
    (?P<name> .+ )
    _ (?: v (?P<v1> \d{3,} ) | V (?P<v2> \d+ ) )  # v001, V2
    """
)
_TILE = compiled(r"\d{6}")
_FILE = compiled(
    rf"""
    (?P<item> .+? _ {_DATE} (?: _ {_DATE} )? )
    (?: _ (?P<band> \w+ ) )?
    (?P<suffix> \. [\w.-]+ )
    """
)
_BAND = compiled(r"[A-Za-z] \w*")
_SUFFIXES = (".tif", ".png", ".json", ".odc-metadata.yaml")
_FOLDER = compiled(
    rf"""
    (?: ^ | / ) (?P<name> [^/]+ )
    (?: / (?P<version> v\d{{3,}} ) )?
    / (?P<tile> [^/]+ )
    / (?P<dates> {_ISO_DATE} (?: _ {_ISO_DATE} )? )
    (?= / | \Z )
    """
)
_FOLDER_V2 = compiled(
    r"""
    (?: ^ | / ) (?P<name> [^/]+ )
    / (?P<version> v\d+ )
    / (?P<column> [^/]+ ) / (?P<row> [^/]+ )
    / (?P<year> \d{4} ) / (?P<month> \d{2} ) / (?P<day> \d{2} )
    (?= / | \Z )
    """
)


@dataclass(frozen=True, slots=True)
class ItemName:
    """The id of an image of a cube: cube, tile and dates.

    Attributes
    ----------
    collection
        Its `generation` decides how the item is written.
    tile_id
        Six digits, column and row.
    start
        First day, or the only one.
    end
        Last day; None where the name has one date.

    Raises
    ------
    InvalidValueError
        If the parts do not make a name that can be read again. Items that end before they start
        exist in the BDC's catalogue; they are refused as well.

    Examples
    --------
    >>> item = ItemName.parse("CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26")
    >>> str(item.collection), item.tile_id, item.period.label
    ('CB4_64_16D_STK-1', '021027', '2020-07-11--P16D')
    >>> item.folder
    'CB4_64_16D_STK/v001/021027/2020-07-11_2020-07-26'
    """

    collection: CollectionName
    tile_id: str
    start: date
    end: date | None = None

    def __post_init__(self) -> None:
        generation, version = self.collection.generation, self.collection.version
        if not _TILE.fullmatch(self.tile_id):
            raise InvalidValueError(f"tile {self.tile_id!r} is not six digits")
        if self.end is not None:
            Period(self.start, self.end)
        if generation in {"V1", "V2"} and not (version and version.isdigit()):
            raise InvalidValueError(
                f"an item of {generation} has a whole number as version, not {version}"
            )
        if generation == "V2" and self.end is not None:
            raise InvalidValueError("an item of V2 has its start in the name, not its end")

    @classmethod
    def parse(cls, text: str) -> ItemName:
        """Read the id of an item; `InvalidValueError` says what is wrong and shows the grammar."""
        with explained("item", text):
            return _item(text)

    @classmethod
    def from_folder(cls, path: str) -> ItemName:
        """Read the folder of an item, from a path or URL that ends in it or leads below it.

        Folders of V2 are in lower case, so the case of the cube's name is lost: the item has it in
        upper case, as ids of V2 items do.

        Raises
        ------
        InvalidValueError
            If there is no such folder in `path`; the message shows the grammar.

        Examples
        --------
        >>> str(ItemName.from_folder("https://data.inpe.br/bdc/data/s2-16d/v2/030/019/2026/03/06/"))
        'S2-16D_V2_030019_20260306'
        """
        with explained("folder", path):
            return _item_of_folder(path)

    def __str__(self) -> str:
        name, version = self.collection.name, self.collection.version
        if self.collection.generation == "V2":
            return join_item_id(f"{name}_V{version}", self.tile_id, _compact(self.start))
        stem = f"{name}_{self._v001}" if self._v001 else str(self.collection)
        return join_item_id(stem, self.tile_id, self._dates)

    @property
    def folder(self) -> str:
        """Folder of the item's files below a root, without ``/`` at its ends."""
        name, tile = self.collection.name, self.tile_id
        if self.collection.generation == "V2":
            version, day = self.collection.version, self.start.isoformat().replace("-", "/")
            return f"{name.lower()}/v{version}/{tile[:3]}/{tile[3:]}/{day}"
        cube = f"{name}/{self._v001}" if self._v001 else str(self.collection)
        return f"{cube}/{tile}/{self._dates}"

    @property
    def period(self) -> Period | None:
        """Days of the image, or None where the name does not tell the last one.

        V2 names the first day only, and periods are cut at the end of the year. An image of an
        identity cube is of one day.
        """
        if self.end is not None:
            return Period(self.start, self.end)
        return Period(self.start, self.start) if self.collection.is_identity else None

    @property
    def _v001(self) -> str | None:
        version = self.collection.version
        return f"v{version.zfill(3)}" if version and self.collection.generation == "V1" else None

    @property
    def _dates(self) -> str:
        if self.end is None:
            return self.start.isoformat()
        return period_folder(Period(self.start, self.end))


@dataclass(frozen=True, slots=True)
class FileName:
    """The name of a file of an item.

    Attributes
    ----------
    item
        The item.
    band
        Band or index as written: ``BAND13``, ``Fmask4``, ``TotalOb``. None where the file is of
        the whole item: a picture, a document, or the one band of a map.
    suffix
        ``.tif``, ``.png``, ``.json`` or, beside them in odc_bdc, ``.odc-metadata.yaml``.

    Raises
    ------
    InvalidValueError
        If the parts do not make a name that can be read again.

    Examples
    --------
    >>> file = FileName.parse("S2-16D_V2_020020_20211219_B01.tif")
    >>> str(file.item), file.band, file.suffix
    ('S2-16D_V2_020020_20211219', 'B01', '.tif')
    """

    item: ItemName
    band: str | None = None
    suffix: str = ".tif"

    def __post_init__(self) -> None:
        if self.suffix not in _SUFFIXES:
            raise InvalidValueError(f"suffix {self.suffix!r} is not one of {', '.join(_SUFFIXES)}")
        if self.band is None:
            return
        if self.suffix != ".tif":
            raise InvalidValueError(f"a {self.suffix} file is of the item, not of a band")
        if not _BAND.fullmatch(self.band):
            raise InvalidValueError(
                f"band {self.band!r} is not a letter, then letters, digits or _"
            )

    @classmethod
    def parse(cls, text: str) -> FileName:
        """Read the name of a file, without its folder; `InvalidValueError` shows the grammar."""
        with explained("file", text):
            found = _FILE.fullmatch(text)
            if found is None:
                raise InvalidValueError("no date before a band or a suffix")
            return cls(_item(found["item"]), found["band"], found["suffix"])

    def __str__(self) -> str:
        band = "" if self.band is None else f"_{self.band}"
        return f"{self.item}{band}{self.suffix}"


def _item(text: str) -> ItemName:
    found = _ITEM.fullmatch(text)
    if found is None:
        raise InvalidValueError("it does not end in a tile and one or two dates")
    end = None if found["end"] is None else _date(found["end"])
    item = ItemName(_collection(found["stem"]), found["tile"], _date(found["start"]), end)
    if str(item) != text:
        raise InvalidValueError(f"an item of {item.collection} is named {item}")
    return item


def _collection(stem: str) -> CollectionName:
    """Read the part of an item's name that tells its collection."""
    found = _VERSIONED_STEM.fullmatch(stem)
    if found is None:
        return read_collection(stem)
    return CollectionName(found["name"], (found["v1"] or found["v2"]).lstrip("0") or "0")


def _item_of_folder(path: str) -> ItemName:
    if matches := list(_FOLDER_V2.finditer(path)):
        found = matches[-1]
        stem = f"{found['name']}_{found['version']}".upper()
        day = found["year"] + found["month"] + found["day"]
        item = _item(join_item_id(stem, found["column"] + found["row"], day))
    elif matches := list(_FOLDER.finditer(path)):
        found = matches[-1]
        stem = "_".join(filter(None, (found["name"], found["version"])))
        item = _item(join_item_id(stem, found["tile"], found["dates"]))
    else:
        raise InvalidValueError("no cube, tile and date follow each other in it")
    if item.folder.lower() != found[0].removeprefix("/").lower():
        raise InvalidValueError(f"the folder of {item} ends {item.folder}")
    return item


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as e:
        raise InvalidValueError(f"{text!r} is not a date") from e


def _compact(day: date) -> str:
    return day.isoformat().replace("-", "")
