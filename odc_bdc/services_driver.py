"""An index driver for the services: that of datacube for ``postgis``, read as little as can be.

It is named in the entry points of this package, under `NAME` in ``datacube.plugins.index``, so each
program that opens an index imports this module; it must stay small. Under the same name in
``datacube_ows.plugins.index`` stands what searches it, `odc_bdc.ows.search.CompleteIndex`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "odc_bdc_services"
"""The driver's name in a configuration of datacube."""

PLAIN = "odc_bdc_plain"
"""Name of the driver for ``postgres``, which is datacube's own; see `odc_bdc.ows.plain_search`."""

SERVICES = {"postgis": NAME, "postgres": PLAIN}
"""What the services open an index with, by its driver."""

_URL_PARTS = ("db_hostname", "db_port", "db_database", "db_username", "db_password")
_OPTIONS = (
    *("db_url", *_URL_PARTS),
    *("db_iam_authentication", "db_iam_timeout", "db_connection_timeout", "db_query_timeout"),
    *("psycopg_version", "skip_broken_datasets", "dc_load_limit"),
)


def index_driver() -> Any:
    """Make the driver; see `NAME`."""
    from datacube.index.postgis._metadata_types import (  # noqa: PLC0415 (seconds)
        MetadataTypeResource,
    )
    from datacube.index.postgis._products import ProductResource  # noqa: PLC0415 (seconds)
    from datacube.index.postgis.index import Index, PostgisIndexDriver  # noqa: PLC0415

    from odc_bdc.document_fields import FieldwiseType  # noqa: PLC0415 (seconds)

    class MetadataTypes(MetadataTypeResource):  # type: ignore[misc]
        """Those whose documents are read field by field."""

        def _make(self, *args: Any, **kwargs: Any) -> FieldwiseType:
            made = super()._make(*args, **kwargs)
            return FieldwiseType(made.definition, made.search_field_extractor, made.id)

    class Products(ProductResource):  # type: ignore[misc]
        """Those of the index's start: the layers of datacube-ows keep theirs as well."""

        _known: tuple[Any, ...] = ()

        def get_all(self) -> Iterator[Any]:
            """Give all; read once, for each search asks for them, and they may be many."""
            self._known = self._known or tuple(super().get_all())
            return iter(self._known)

    class ServicesIndex(Index):  # type: ignore[misc]
        """The index of datacube with other `MetadataTypes` and `Products`."""

        def __init__(self, db: Any, env: Any) -> None:
            super().__init__(db, env)
            self._metadata_types = MetadataTypes(db, self)
            self._products = Products(db, self)

    class ServicesDriver(PostgisIndexDriver):  # type: ignore[misc]
        """Opens a `ServicesIndex`."""

        @classmethod
        def index_class(cls) -> type[Index]:
            return ServicesIndex

    return ServicesDriver()


def services_environment(environment: Any) -> Any:
    """Give an ODC environment that opens the same index as the services do, by `SERVICES`.

    Parameters
    ----------
    environment
        An `ODCEnvironment`, the name of one, or None for datacube's default.
    """
    from datacube.cfg import ODCConfig  # noqa: PLC0415 (seconds)

    given = ODCConfig.get_environment(env=environment)
    driver = SERVICES.get(given.index_driver)
    if driver is None:
        return given
    options = {name: getattr(given, name, None) for name in _OPTIONS}
    # Of an index that is named by a URL, datacube gives its parts as well.
    parts = _URL_PARTS if options["db_url"] else ()
    section = {k: value for k, value in options.items() if value is not None and k not in parts}
    name = given._name  # noqa: SLF001 (it has no other name)
    return ODCConfig(raw_dict={name: {**section, "index_driver": driver}})[name]
