"""QGIS as its users see it, without a screen: the steps of docs/howto/qgis.md, one picture each.

A program of its own for the Python that QGIS is installed for, as `qgis_session.py`: it opens
QGIS's own dialogs, fills them in and presses their buttons. Reads what to show as JSON from
standard input, writes pictures into a folder, and what it saw as JSON.
"""

import json
import os
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsContrastEnhancement,
    QgsCoordinateReferenceSystem,
    QgsLayerTreeModel,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRasterMinMaxOrigin,
    QgsRectangle,
)
from qgis.gui import (
    QgsGui,
    QgsLayerTreeMapCanvasBridge,
    QgsLayerTreeView,
    QgsMapCanvas,
    QgsNewHttpConnection,
    QgsTemporalControllerWidget,
)
from qgis.PyQt.QtCore import QDateTime, QElapsedTimer, QEventLoop, Qt, QTimer
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QComboBox,
    QDateTimeEdit,
    QDockWidget,
    QDoubleSpinBox,
    QLineEdit,
    QMainWindow,
    QPushButton,
    QTableWidget,
    QTabWidget,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItemIterator,
)

NAME, TILES = "Brazil Data Cube", "Brazil Data Cube, tiles"
SECONDS = 60


def leave(status):
    """End at once: Python ends widgets of QGIS in another order than QGIS, and often crashes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def fail(what):
    """Tell what did not happen, and end."""
    sys.stderr.write(f"{what}\n")
    leave(1)


def until(holds, what):
    """Let QGIS work until something holds, and give it."""
    clock = QElapsedTimer()
    clock.start()
    while not (found := holds()):
        if clock.elapsed() > SECONDS * 1000:
            fail(f"not within {SECONDS} s: {what}")
        QApplication.processEvents(QEventLoop.AllEvents, 50)
    return found


def settle(milliseconds=300):
    """Let QGIS lay out and draw what is to be seen."""
    clock = QElapsedTimer()
    clock.start()
    until(lambda: clock.elapsed() > milliseconds, "a moment")


class Guide:
    """The steps, in their order."""

    def __init__(self, job, folder):
        self.job, self.folder = job, folder
        self.told = {}
        self.opened = []
        self.window = None

    def picture(self, widget, name):
        """Save what is to be seen of a widget."""
        settle()
        path = self.folder / f"qgis_{name}.png"
        if not widget.grab().save(str(path)):
            fail(f"no picture {path}")
        self.told.setdefault("pictures", []).append(str(path))

    def connect(self, kind, key, url, name, picture=None):
        """Fill in the dialog "Create a New Connection", and press OK."""
        dialog = QgsNewHttpConnection(None, kind, key, "")
        dialog.findChild(QLineEdit, "txtName").setText(name)
        dialog.findChild(QLineEdit, "txtUrl").setText(url)
        dialog.resize(560, 560)
        dialog.show()
        if picture:
            self.picture(dialog, picture)
        dialog.accept()

    def source(self, provider, combo, button, name):
        """Open a page of the data source manager, and press Connect."""
        # Python keeps them: QGIS's replies come to them later.
        page = QgsGui.sourceSelectProviderRegistry().createSelectionWidget(
            provider, None, Qt.Widget, QgsProviderRegistry.WidgetMode.Embedded
        )
        self.opened.append(page)
        page.resize(780, 680)
        page.addRasterLayer.connect(self.add)
        page.show()
        choice = page.findChild(QComboBox, combo)
        choice.setCurrentText(name)
        choice.activated.emit(choice.currentIndex())
        page.findChild(QPushButton, button).click()
        return page

    def add(self, uri, name, provider):
        """Add a layer to the project, as QGIS does when a page says so."""
        layer = QgsRasterLayer(uri, name, provider)
        self.told.setdefault("layers", []).append(
            {"uri": uri, "provider": provider, "valid": layer.isValid()}
        )
        if layer.isValid():
            QgsProject.instance().addMapLayer(layer)

    def choose(self, tree, name):
        """Choose a layer in a tree of layers, open to it."""
        until(tree.topLevelItemCount, "layers of the connection")
        every = QTreeWidgetItemIterator(tree)
        while item := every.value():
            if name in [item.text(column) for column in range(tree.columnCount())]:
                # Its styles lie below it; the layer itself is the outer of the two.
                parent = item.parent()
                while parent:
                    parent.setExpanded(True)
                    parent = parent.parent()
                tree.clearSelection()
                item.setSelected(True)
                tree.setCurrentItem(item)
                tree.scrollToItem(item)
                return
            every += 1
        fail(f"no layer {name}")

    def show_window(self):
        """Open a window like QGIS's: layers, map, temporal controller."""
        window = QMainWindow()
        canvas = QgsMapCanvas()
        canvas.setCanvasColor(Qt.white)
        canvas.enableAntiAliasing(True)
        window.setCentralWidget(canvas)
        tree = QgsLayerTreeView()
        root = QgsProject.instance().layerTreeRoot()
        model = QgsLayerTreeModel(root)
        model.setFlag(QgsLayerTreeModel.AllowNodeChangeVisibility)
        tree.setModel(model)
        bridge = QgsLayerTreeMapCanvasBridge(root, canvas)
        layers = QDockWidget("Layers")
        layers.setWidget(tree)
        window.addDockWidget(Qt.LeftDockWidgetArea, layers)
        controller = QgsTemporalControllerWidget()
        time = QDockWidget("Temporal Controller")
        time.setWidget(controller)
        window.addDockWidget(Qt.TopDockWidgetArea, time)
        time.setMaximumHeight(120)
        time.hide()
        canvas.setTemporalController(controller.temporalController())
        window.resize(1040, 600)
        window.show()
        self.window, self.canvas, self.bridge, self.tree = window, canvas, bridge, tree
        self.controller, self.time, self.model = controller, time, model
        window.resizeDocks([layers], [330], Qt.Horizontal)

    def draw(self, name, picture=None):
        """Wait for the map, save it, and take a picture of the window."""
        drawn = []
        self.canvas.mapCanvasRefreshed.connect(lambda: drawn.append(True))
        settle()
        self.canvas.refreshAllLayers()
        until(lambda: drawn and not self.canvas.isDrawing(), f"the map of {name}")
        settle()
        until(lambda: not self.canvas.isDrawing(), f"the map of {name}")
        if picture:
            self.picture(self.window, picture)
        path = self.folder / f"{name}_map.png"
        self.canvas.grab().save(str(path))
        self.told.setdefault("maps", {})[name] = str(path)

    def only(self, provider):
        """Show the newest layer of a provider, and no other; zoom to it."""
        layers = list(QgsProject.instance().mapLayers().values())
        shown = [layer for layer in layers if layer.dataProvider().name() == provider][-1]
        root = QgsProject.instance().layerTreeRoot()
        for layer in layers:
            root.findLayer(layer.id()).setItemVisibilityChecked(layer == shown)
            root.findLayer(layer.id()).setExpanded(layer == shown)
        west, south, east, north = self.job["extent"]
        self.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
        self.canvas.setExtent(QgsRectangle(west, south, east, north))
        return shown


def wms(guide):
    """Connect to WMS, add a layer, and look at it."""
    url = guide.job["url"] + "/wms"
    guide.connect(
        QgsNewHttpConnection.ConnectionWms, "qgis/connections-wms/", url, NAME, "connection"
    )
    page = guide.source("wms", "cmbConnections", "btnConnect", NAME)
    tree = page.findChild(QTreeWidget, "lstLayers")
    guide.choose(tree, guide.job["layer"])
    for column in range(3):
        tree.resizeColumnToContents(column)
    guide.picture(page, "layers")
    page.addButtonClicked()
    page.hide()
    guide.show_window()
    guide.only("wms")
    guide.draw("map", "map")


def temporal(guide):
    """Open the temporal controller, and go to a frame by its button."""
    widget = guide.controller
    guide.time.show()
    widget.findChild(QToolButton, "mNavigationAnimated").click()
    for name, day in zip(("mStartDateTime", "mEndDateTime"), guide.job["range"], strict=True):
        widget.findChild(QDateTimeEdit, name).setDateTime(QDateTime.fromString(day, Qt.ISODate))
    widget.findChild(QComboBox, "mTimeStepsComboBox").setCurrentText("days")
    widget.findChild(QDoubleSpinBox, "mStepSpinBox").setValue(guide.job["step"])
    for number in range(guide.job["frames"]):
        if number:
            widget.findChild(QPushButton, "mNextButton").click()
        last = number == guide.job["frames"] - 1
        guide.draw(f"frame_{number}", "temporal" if last else None)
    widget.findChild(QToolButton, "mNavigationOff").click()
    guide.time.hide()


def wmts(guide):
    """Connect to WMTS, and choose a layer on a grid."""
    url = guide.job["url"] + "/wmts?service=WMTS&request=GetCapabilities"
    guide.connect(QgsNewHttpConnection.ConnectionWms, "qgis/connections-wms/", url, TILES)
    page = guide.source("wms", "cmbConnections", "btnConnect", TILES)
    table, tabs = (
        page.findChild(QTableWidget, "lstTilesets"),
        page.findChild(QTabWidget, "tabServers"),
    )
    tabs.setCurrentWidget(table.parentWidget())
    until(table.rowCount, "tilesets of the connection")
    wanted = {guide.job["layer"], "image/png", "True colour", "WholeWorld_WebMercator"}
    rows = [
        row
        for row in range(table.rowCount())
        if wanted <= {table.item(row, column).text() for column in range(table.columnCount())}
    ]
    table.selectRow(rows[0])
    table.scrollToItem(table.item(rows[0], 0), QAbstractItemView.PositionAtCenter)
    table.resizeColumnsToContents()
    guide.told["tilesets"] = table.rowCount()
    guide.picture(page, "tilesets")

    def answer():
        """Take the time that the dialog of a layer with times proposes: press OK."""
        dialog = QApplication.activeModalWidget()
        times = dialog.findChild(QTableWidget)
        times.selectRow(0)
        guide.told["dimension"] = [times.item(0, column).text() for column in (0, 3)]
        guide.picture(dialog, "dimensions")
        dialog.accept()

    QTimer.singleShot(1000, answer)
    page.addButtonClicked()
    page.hide()
    guide.only("wms")
    guide.draw("tiles", "tiles")


def wcs(guide):
    """Connect to WCS, add a coverage of a date, and look at its values in colours of one's own."""
    url = guide.job["url"] + "/wcs"
    guide.connect(QgsNewHttpConnection.ConnectionWcs, "qgis/connections-wcs/", url, NAME)
    page = guide.source("wcs", "mConnectionsComboBox", "mConnectButton", NAME)
    guide.choose(page.findChild(QTreeWidget, "mLayersTreeWidget"), guide.job["layer"])
    times = page.findChild(QComboBox, "mTimeComboBox")
    until(times.count, "times of the coverage")
    guide.told["times"] = [times.itemText(n) for n in range(times.count())]
    times.setCurrentIndex(times.count() - 1)
    guide.picture(page, "coverages")
    page.addButtonClicked()
    page.hide()
    layer = guide.only("wcs")
    guide.told["bands"] = [layer.bandName(n + 1) for n in range(layer.bandCount())]
    renderer = QgsMultiBandColorRenderer(layer.dataProvider(), 4, 3, 2)
    layer.setRenderer(renderer)
    layer.setContrastEnhancement(
        QgsContrastEnhancement.StretchToMinimumMaximum, QgsRasterMinMaxOrigin.CumulativeCut
    )
    guide.draw("coverage", "coverage")


def main():
    """Go through all steps."""
    job, folder = json.load(sys.stdin), Path(sys.argv[1])
    QApplication.setStyle("Fusion")
    app = QgsApplication([], True)
    app.initQgis()
    font = app.font()
    font.setPointSize(8)
    app.setFont(font)
    guide = Guide(job, folder)
    for step in (wms, temporal, wmts, wcs):
        step(guide)
    sys.stdout.write(json.dumps(guide.told) + "\n")
    leave(0)


main()
