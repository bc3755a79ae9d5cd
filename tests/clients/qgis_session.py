"""QGIS, run without a screen by the Python that QGIS is installed for: jobs in, arrays out.

A program of its own, since QGIS is not in the environment of the tests. Reads a list of jobs as
JSON from standard input, and writes what it saw as JSON; images and pixels go into a folder.
"""

import json
import sys
from pathlib import Path

import numpy as np
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsDateTimeRange,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QDateTime, QSize, Qt
from qgis.PyQt.QtGui import QColor


def open_layer(job):
    """Add a layer as the data source manager would; its errors are an answer too."""
    layer = QgsRasterLayer(job["uri"], job.get("name", "layer"), job["provider"])
    provider = layer.dataProvider()
    found = {
        "valid": layer.isValid(),
        "error": layer.error().message() or (provider.error().message() if provider else ""),
        "crs": layer.crs().authid() or layer.crs().toProj(),
        "bands": layer.bandCount() if layer.isValid() else 0,
    }
    if layer.isValid():
        box = layer.extent()
        found["extent"] = [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]
        temporal = provider.temporalCapabilities()
        found["temporal"] = bool(temporal and temporal.hasTemporalCapabilities())
        if found["temporal"]:
            whole = temporal.availableTemporalRange()
            found["range"] = [t.toString(Qt.ISODate) for t in (whole.begin(), whole.end())]
    return layer, found


def moment(text):
    """Read a time of UTC."""
    return QDateTime.fromString(text, Qt.ISODate)


def draw(layer, job, folder):
    """Draw a map of a layer, and save it as PNG."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setBackgroundColor(QColor(0, 0, 0, 0))
    settings.setOutputSize(QSize(*job["size"]))
    settings.setOutputDpi(96)
    crs = QgsCoordinateReferenceSystem()
    crs.createFromUserInput(job["crs"])
    settings.setDestinationCrs(crs)
    settings.setExtent(QgsRectangle(*job["extent"]))
    if "frame" in job:
        settings.setIsTemporal(True)
        settings.setTemporalRange(QgsDateTimeRange(*map(moment, job["frame"]), True, False))
    running = QgsMapRendererParallelJob(settings)
    running.start()
    running.waitForFinished()
    path = folder / (job["name"] + ".png")
    running.renderedImage().save(str(path))
    return {"image": str(path), "errors": [e.message for e in running.errors()]}


def read(layer, job, folder):
    """Read the pixels of bands, and save them as an array (band, y, x)."""
    provider, (width, height) = layer.dataProvider(), job["size"]
    out, nodata, names = [], [], []
    for band in range(1, provider.bandCount() + 1):
        block = provider.block(band, QgsRectangle(*job["extent"]), width, height)
        out.append([[block.value(y, x) for x in range(width)] for y in range(height)])
        has = provider.sourceHasNoDataValue(band)
        nodata.append(provider.sourceNoDataValue(band) if has else None)
        names.append(provider.generateBandName(band))
    path = folder / (job["name"] + ".npy")
    np.save(path, np.array(out))
    return {"pixels": str(path), "nodata": nodata, "names": names}


def legend(layer, job, folder):
    """Ask for the legend of a layer, and save it as PNG."""
    from qgis.PyQt.QtCore import QEventLoop, QTimer

    fetcher = layer.dataProvider().getLegendGraphicFetcher(QgsMapSettings())
    path, loop = folder / (job["name"] + ".png"), QEventLoop()
    fetcher.finish.connect(lambda image: (image.save(str(path)), loop.quit()))
    fetcher.error.connect(lambda _: loop.quit())
    QTimer.singleShot(30000, loop.quit)
    fetcher.start()
    loop.exec_()
    return {"image": str(path) if path.exists() else None}


def identify(layer, job, _folder):
    """Ask what is at a point."""
    from qgis.core import QgsPointXY, QgsRaster

    formats = {"text": QgsRaster.IdentifyFormatText, "html": QgsRaster.IdentifyFormatHtml}
    found = layer.dataProvider().identify(
        QgsPointXY(*job["point"]),
        formats[job.get("format", "text")],
        QgsRectangle(*job["extent"]),
        *job["size"],
    )
    return {"ok": found.isValid(), "told": [str(v) for v in found.results().values()]}


TASKS = {"draw": draw, "read": read, "legend": legend, "identify": identify}


def main():
    """Do all jobs in one session."""
    folder = Path(sys.argv[1])
    app = QgsApplication([], False)
    app.initQgis()
    answers = []
    for job in json.load(sys.stdin):
        layer, found = open_layer(job)
        if found["valid"] and "do" in job:
            found |= TASKS[job["do"]](layer, job, folder)
        answers.append(found)
        del layer
    sys.stdout.write(json.dumps(answers) + "\n")
    sys.stdout.flush()
    app.exitQgis()


main()
