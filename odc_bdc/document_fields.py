"""Documents of datasets of which one field is read at a time.

datacube reads all fields, search fields that are computed of several values among them, to give one
of them: in a map of one dataset that is a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datacube.model import MetadataType
from datacube.utils.documents import DocReader, get_doc_offset


class FieldwiseReader(DocReader):  # type: ignore[misc]
    """Reads the field that is asked for, and no other."""

    def __getattr__(self, name: str) -> Any:
        """Give a field of the document."""
        known = self.__dict__
        if name in known["_system_offsets"]:
            return get_doc_offset(known["_system_offsets"][name], known["_doc"])
        field = known["_search_fields"].get(name)
        if field is not None and field.can_extract:
            return field.extract(known["_doc"])
        return super().__getattr__(name)  # which raises


class FieldwiseType(MetadataType):  # type: ignore[misc]
    """A metadata type whose documents are read by a `FieldwiseReader`."""

    def dataset_reader(self, dataset_doc: Mapping[str, Any]) -> FieldwiseReader:
        """Give the reader of a document."""
        return FieldwiseReader(self.definition["dataset"], self.dataset_fields, dataset_doc)
