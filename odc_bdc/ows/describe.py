"""DescribeCoverage, so that clients know where the pixels of a coverage lie.

datacube-ows gives the grid of WCS 1.0 one row and column too many and its lower left corner
as origin of rows that run south, and that of WCS 2.0 neither origin nor offsets: GDAL reads pixels
from the wrong place, or nothing. Here the grid is that of the product: origin is the centre of the
upper left pixel (OGC 07-036, 19.2.2).

A coverage of WCS 2.0 is described as a flat grid, for a grid whose dates lie unevenly is no
RectifiedGrid; of a request without a date the latest is served. The dates stand in an extension of
GeoServer, which GDAL reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from odc_bdc.ows.crs import WMS_CRS84

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_SCHEMAS = "http://schemas.opengis.net"
_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@dataclass(frozen=True, slots=True)
class BandDescription:
    """A band of a coverage: its name, nodata value and unit (UCUM)."""

    name: str
    nodata: float
    unit: str = "1"


@dataclass(frozen=True, slots=True)
class CoverageDescription:
    """What a client must know of a coverage.

    Attributes
    ----------
    name, title, abstract
        For people; the name is the identifier.
    crs, other_crss
        Names of the CRS of the grid and of all others that are served.
    axes
        Labels of the horizontal and the vertical axis.
    unit
        Of both axes: ``m`` or ``deg``.
    latitude_first
        Whether the standard orders the axes vertical first.
    bounds
        Left, bottom, right, top, in `crs`.
    degrees
        West, south, east, north.
    resolution
        Width and height of a pixel, both positive.
    times
        As ISO 8601.
    bands
        In the order of the product.
    formats
        Names (WCS 1.0) of the formats, the native one first.
    mime
        Of the native format.
    """

    name: str
    title: str
    abstract: str
    crs: str
    other_crss: Sequence[str]
    axes: tuple[str, str]
    unit: str
    latitude_first: bool
    bounds: tuple[float, float, float, float]
    degrees: tuple[float, float, float, float]
    resolution: tuple[float, float]
    times: Sequence[str]
    bands: Sequence[BandDescription]
    formats: Sequence[str]
    mime: str

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of the grid."""
        left, bottom, right, top = self.bounds
        width, height = self.resolution
        return max(round((right - left) / width), 1), max(round((top - bottom) / height), 1)

    @property
    def origin(self) -> tuple[float, float]:
        """Centre of the upper left pixel."""
        return self.bounds[0] + self.resolution[0] / 2, self.bounds[3] - self.resolution[1] / 2


def describe_1(coverages: Sequence[CoverageDescription]) -> bytes:
    """Write the answer to a DescribeCoverage of WCS 1.0.0 (OGC 03-065r6, 8.2)."""
    root = (
        '<CoverageDescription version="1.0.0" xmlns="http://www.opengis.net/wcs" '
        f'xmlns:gml="http://www.opengis.net/gml" {_XSI} xsi:schemaLocation='
        f'"http://www.opengis.net/wcs {_SCHEMAS}/wcs/1.0.0/describeCoverage.xsd">'
    )
    offerings = [_offering(coverage) for coverage in coverages]
    return "\n".join([_DECLARATION, root, *offerings, "</CoverageDescription>", ""]).encode()


def _offering(c: CoverageDescription) -> str:
    west, south, east, north = c.degrees
    first, last = (f"<gml:timePosition>{c.times[n]}</gml:timePosition>" for n in (0, -1))
    corners = f"<gml:pos>{west} {south}</gml:pos><gml:pos>{east} {north}</gml:pos>"
    left, bottom, right, top = map(_number, c.bounds)
    # QGIS takes the grid's extent from here; that in degrees, projected, lies beside the pixels.
    native = f"<gml:pos>{left} {bottom}</gml:pos><gml:pos>{right} {top}</gml:pos>"
    # Axes of WCS 1.0 are x before y in every CRS.
    columns, rows = c.size
    x, y = c.origin
    times = "".join(f"<gml:timePosition>{t}</gml:timePosition>" for t in c.times)
    values = "".join(f"<singleValue>{escape(b.name)}</singleValue>" for b in c.bands)
    nodata = "".join(
        f"<singleValue>{_number(v)}</singleValue>" for v in dict.fromkeys(b.nodata for b in c.bands)
    )
    crss = "".join(
        f"<requestResponseCRSs>{escape(name)}</requestResponseCRSs>"
        for name in dict.fromkeys((c.crs, *c.other_crss))
    )
    formats = "".join(f"<formats>{escape(name)}</formats>" for name in c.formats)
    return f"""<CoverageOffering>
<description>{escape(c.abstract)}</description>
<name>{escape(c.name)}</name>
<label>{escape(c.title)}</label>
<lonLatEnvelope srsName="urn:ogc:def:crs:OGC:1.3:CRS84">{corners}{first}{last}</lonLatEnvelope>
<domainSet>
<spatialDomain>
<gml:EnvelopeWithTimePeriod srsName="EPSG:4326">{corners}{first}{last}</gml:EnvelopeWithTimePeriod>
<gml:Envelope srsName={quoteattr(c.crs)}>{native}</gml:Envelope>
<gml:RectifiedGrid srsName={quoteattr(c.crs)} dimension="2">
<gml:limits><gml:GridEnvelope><gml:low>0 0</gml:low>\
<gml:high>{columns - 1} {rows - 1}</gml:high></gml:GridEnvelope></gml:limits>
<gml:axisName>{c.axes[0]}</gml:axisName><gml:axisName>{c.axes[1]}</gml:axisName>
<gml:origin><gml:pos>{_number(x)} {_number(y)}</gml:pos></gml:origin>
<gml:offsetVector>{_number(c.resolution[0])} 0</gml:offsetVector>
<gml:offsetVector>0 {_number(-c.resolution[1])}</gml:offsetVector>
</gml:RectifiedGrid>
</spatialDomain>
<temporalDomain>{times}</temporalDomain>
</domainSet>
<rangeSet><RangeSet>
<name>Bands</name><label>Bands</label>
<axisDescription><AxisDescription>
<name>measurements</name><label>Bands</label><values>{values}</values>
</AxisDescription></axisDescription>
<nullValues>{nodata}</nullValues>
</RangeSet></rangeSet>
<supportedCRSs>{crss}<nativeCRSs>{escape(c.crs)}</nativeCRSs></supportedCRSs>
<supportedFormats nativeFormat={quoteattr(c.formats[0])}>{formats}</supportedFormats>
<supportedInterpolations default="nearest neighbor">\
<interpolationMethod>nearest neighbor</interpolationMethod></supportedInterpolations>
</CoverageOffering>"""


def describe_2(coverages: Sequence[CoverageDescription]) -> bytes:
    """Write the answer to a DescribeCoverage of WCS 2.0.1 (OGC 09-110r4, 8.3; GMLCOV 1.0)."""
    root = (
        '<wcs:CoverageDescriptions xmlns:wcs="http://www.opengis.net/wcs/2.0" '
        'xmlns:gml="http://www.opengis.net/gml/3.2" xmlns:swe="http://www.opengis.net/swe/2.0" '
        'xmlns:wcsgs="http://www.geoserver.org/wcsgs/2.0" '
        f'xmlns:gmlcov="http://www.opengis.net/gmlcov/1.0" {_XSI} xsi:schemaLocation='
        f'"http://www.opengis.net/wcs/2.0 {_SCHEMAS}/wcs/2.0/wcsDescribeCoverage.xsd">'
    )
    descriptions = [_description(coverage) for coverage in coverages]
    return "\n".join(
        [_DECLARATION, root, *descriptions, "</wcs:CoverageDescriptions>", ""]
    ).encode()


def _description(c: CoverageDescription) -> str:
    srs, name = quoteattr(crs_uri(c.crs)), escape(c.name)
    left, bottom, right, top = c.bounds
    width, height = c.resolution
    columns, rows = c.size
    vertical = c.latitude_first

    def pair(x: object, y: object) -> str:
        return f"{y} {x}" if vertical else f"{x} {y}"

    def place(x: float, y: float) -> str:
        return pair(_number(x), _number(y))

    instants = "".join(
        f'<gml:TimeInstant gml:id="{name}_t{n}"><gml:timePosition>{time}</gml:timePosition>'
        "</gml:TimeInstant>"
        for n, time in enumerate(c.times)
    )
    # The first axis of the grid is that of the columns, whatever the order of the CRS.
    fields = "\n".join(_field(band) for band in c.bands)
    return f"""<wcs:CoverageDescription gml:id="{name}">
<gml:description>{escape(c.abstract)}</gml:description>
<gml:name>{escape(c.title)}</gml:name>
<gml:boundedBy>
<gml:EnvelopeWithTimePeriod srsName={srs} axisLabels="{pair(*c.axes)}" \
uomLabels="{c.unit} {c.unit}" srsDimension="2">
<gml:lowerCorner>{place(left, bottom)}</gml:lowerCorner>
<gml:upperCorner>{place(right, top)}</gml:upperCorner>
<gml:beginPosition>{c.times[0]}</gml:beginPosition>
<gml:endPosition>{c.times[-1]}</gml:endPosition>
</gml:EnvelopeWithTimePeriod>
</gml:boundedBy>
<wcs:CoverageId>{name}</wcs:CoverageId>
<gmlcov:metadata><gmlcov:Extension><wcsgs:TimeDomain default="{c.times[-1]}">{instants}\
</wcsgs:TimeDomain></gmlcov:Extension></gmlcov:metadata>
<gml:domainSet>
<gml:RectifiedGrid gml:id="{name}_grid" dimension="2">
<gml:limits><gml:GridEnvelope><gml:low>0 0</gml:low>\
<gml:high>{columns - 1} {rows - 1}</gml:high></gml:GridEnvelope></gml:limits>
<gml:axisLabels>{" ".join(c.axes)}</gml:axisLabels>
<gml:origin><gml:Point gml:id="{name}_origin" srsName={srs}>\
<gml:pos>{place(*c.origin)}</gml:pos></gml:Point></gml:origin>
<gml:offsetVector srsName={srs}>{place(width, 0)}</gml:offsetVector>
<gml:offsetVector srsName={srs}>{place(0, -height)}</gml:offsetVector>
</gml:RectifiedGrid>
</gml:domainSet>
<gmlcov:rangeType><swe:DataRecord>
{fields}
</swe:DataRecord></gmlcov:rangeType>
<wcs:ServiceParameters>
<wcs:CoverageSubtype>RectifiedGridCoverage</wcs:CoverageSubtype>
<wcs:nativeFormat>{c.mime}</wcs:nativeFormat>
</wcs:ServiceParameters>
</wcs:CoverageDescription>"""


def _field(band: BandDescription) -> str:
    return (
        f"<swe:field name={quoteattr(band.name)}><swe:Quantity>"
        f"<swe:description>{escape(band.name)}</swe:description>"
        '<swe:nilValues><swe:NilValues><swe:nilValue reason="http://www.opengis.net/def/nil/OGC/0/'
        f'unknown">{_number(band.nodata)}</swe:nilValue></swe:NilValues></swe:nilValues>'
        f"<swe:uom code={quoteattr(band.unit)}/></swe:Quantity></swe:field>"
    )


def crs_uri(name: str) -> str:
    """Give the URI of a CRS (OGC 11-053r1), if it is of EPSG.

    Examples
    --------
    >>> crs_uri("EPSG:32631")
    'http://www.opengis.net/def/crs/EPSG/0/32631'
    """
    code = name.removeprefix("EPSG:")
    return f"http://www.opengis.net/def/crs/EPSG/0/{code}" if code.isdigit() else name


def coverage_crss(names: Iterable[str]) -> list[str]:
    """Leave out names of CRSs that are proj strings, or of WMS alone."""
    return [name for name in names if not name.startswith("+") and name != WMS_CRS84]


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() else repr(float(value))


def described(cfg: Any, layer: Any) -> CoverageDescription:
    """Take the description of a layer from datacube-ows."""
    from odc_bdc.ows.upstream import latitude_first  # noqa: PLC0415 (an extra)

    crss = cfg.published_CRSs
    native = layer.native_CRS
    # Under its code, if it has one: few clients read a proj string.
    alias = next((name for name, about in crss.items() if about["alias_of"] == native), native)
    box = layer.ranges.bboxes[native]
    index = layer.band_idx
    about = crss[native]
    dated = [t.isoformat() for t in layer.ranges.times]
    native_format = cfg.wcs_formats_by_name[layer.native_format]
    others = [f.name for f in cfg.wcs_formats if f.name != native_format.name and 1 in f.renderers]
    return CoverageDescription(
        name=layer.name,
        title=layer.title,
        abstract=layer.abstract or layer.title,
        crs=alias,
        other_crss=coverage_crss(crss),
        axes=(about["horizontal_coord"], about["vertical_coord"]),
        unit="deg" if about["geographic"] else "m",
        latitude_first=latitude_first(cfg, native),
        bounds=(
            min(box["left"], box["right"]),
            min(box["bottom"], box["top"]),
            max(box["left"], box["right"]),
            max(box["bottom"], box["top"]),
        ),
        degrees=(
            layer.ranges.lon.min,
            layer.ranges.lat.min,
            layer.ranges.lon.max,
            layer.ranges.lat.max,
        ),
        resolution=(abs(layer.resolution_x), abs(layer.resolution_y)),
        times=[t if "T" in t else f"{t}T00:00:00.000Z" for t in dated],
        bands=[
            BandDescription(
                index.band_label(name), float(index.nodata_val(name)), unit_of(layer, name)
            )
            for name in index.band_labels(canonical=True)
            for name in [index.locale_band(name)]
        ],
        formats=[native_format.name, *others],
        mime=native_format.mime,
    )


def unit_of(layer: Any, band: str) -> str:
    """Give the unit of a band, as the product has it."""
    for product in layer.products:
        if band in product.measurements:
            return str(product.measurements[band].get("units") or "1")
    return "1"
