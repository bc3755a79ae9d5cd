// The map: one layer of the services at one date or two, and lines above it.
import {
  Circle, Feature, Fill, GeoJSON, Graticule, Map, Point, ScaleLine, Stroke, Style, TileGrid, TileLayer,
  VectorLayer, VectorSource, View, WMTS, Zoom, defaultInteractions, getProjection, getRenderPixel, proj4,
  register, transform, transformExtent,
} from './map_library.js';
import {$} from './dom.js';
import {change, now, onChange} from './state.js';
import {ask, Failure} from './server.js';
import {say} from './words.js';

const LONLAT = 'EPSG:4326';
const WORLD = [-180, -85, 180, 85];

/** Draws what the state says, and writes into it where the user moves. */
export class MapView {
  /**
   * @param catalogue what the services have.
   * @param tell called with a sentence when images do not come, and with nothing when they do.
   */
  constructor(catalogue, tell) {
    this.catalogue = catalogue;
    this.tell = tell;
    this.waiting = 0;
    defineProjections(catalogue.tile_sets);
    this.first = new TileLayer({className: 'image-first'});
    this.second = new TileLayer({className: 'image-second', visible: false});
    this.tiles = new TileLayer({className: 'tile-grid', visible: false});
    this.borders = new VectorLayer({style: new Style({stroke: new Stroke({color: '#57606a', width: 1})})});
    this.point = new VectorLayer({source: new VectorSource(), style: marker()});
    this.map = new Map({
      target: 'map',
      layers: [this.first, this.second, this.borders, this.tiles, this.point],
      controls: [
        new Zoom({zoomInTipLabel: say('zoom_in'), zoomOutTipLabel: say('zoom_out')}),
        new ScaleLine(),
      ],
      interactions: defaultInteractions(),
    });
    for (const layer of [this.first, this.second]) this.clip(layer);
    this.map.on('moveend', () => this.moved());
    this.map.on('singleclick', (event) => this.pick(event.coordinate));
    this.map.getTargetElement().addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && event.target === this.map.getTargetElement()) this.pick(this.view.getCenter());
    });
    onChange((changed) => this.follow(changed));
  }

  get view() {
    return this.map.getView();
  }

  get tileSet() {
    return this.catalogue.tile_sets.find((s) => s.name === now.set) ?? this.catalogue.tile_sets[0];
  }

  /** Draw everything anew. */
  start() {
    this.project();
    this.follow(new Set(['layer', 'opacity', 'grid', 'borders', 'graticule', 'point']));
    if (now.at && now.zoom !== null) this.go();
    else this.showWhole();
  }

  follow(changed) {
    const any = (...names) => names.some((name) => changed.has(name));
    if (any('set')) this.project();
    if (any('at', 'zoom') && !this.isThere()) this.go();
    if (any('layer', 'style', 'set')) this.showLayer();
    else if (any('time', 'second', 'compare')) this.showTimes();
    if (any('opacity')) for (const layer of [this.first, this.second]) layer.setOpacity(now.opacity);
    if (any('grid', 'set')) this.showGrid();
    if (any('borders', 'set')) this.showBorders();
    if (any('graticule', 'set')) this.showGraticule();
    if (any('point', 'set')) this.showPoint();
    if (any('swipe', 'compare')) this.map.render();
  }

  /** Take the tile set's projection, at the same place. */
  project() {
    const set = this.tileSet;
    const old = this.map.getView();
    const centre = now.at ?? [-54, -12];
    const here = this.projection ? old.getResolution() : null;
    this.projection = getProjection(set.crs);
    this.map.setView(new View({
      projection: this.projection,
      center: transform(centre, LONLAT, this.projection),
      resolutions: set.resolutions,
      constrainResolution: true,
      resolution: here ?? set.resolutions[4],
      extent: set.extent,
      constrainOnlyCenter: true,
      enableRotation: false,
    }));
  }

  /** Go where the state says. */
  go() {
    if (!now.at) return;
    this.view.setCenter(transform(now.at, LONLAT, this.projection));
    if (now.zoom !== null) this.view.setZoom(now.zoom);
  }

  isThere() {
    const [x, y] = transform(now.at ?? [0, 0], LONLAT, this.projection);
    const [cx, cy] = this.view.getCenter();
    const near = this.view.getResolution() * 2;
    return now.at !== null && Math.abs(x - cx) < near && Math.abs(y - cy) < near && now.zoom === this.view.getZoom();
  }

  /** Show all of the layer. */
  showWhole() {
    const extent = this.layerExtent();
    if (extent) this.view.fit(extent, {padding: [24, 24, 24, 24], maxZoom: this.tileSet.resolutions.length - 1});
  }

  layerExtent() {
    const layer = this.catalogue.layers[now.layer];
    return layer && transformExtent(layer.bbox, LONLAT, this.projection, 16);
  }

  moved() {
    const centre = transform(this.view.getCenter(), this.projection, LONLAT);
    if (centre.every(Number.isFinite)) {
      change({at: centre.map((v) => Number(v.toFixed(5))), zoom: this.view.getZoom()});
    }
  }

  pick(place) {
    const point = transform(place, this.projection, LONLAT);
    if (point.every(Number.isFinite)) change({point: point.map((v) => Number(v.toFixed(5)))});
  }

  /** Give the request for the values at a place, of one time or a range. */
  valuesRequest(point, time) {
    const layer = this.catalogue.layers[now.layer];
    const [x, y] = transform(point, LONLAT, this.projection);
    const half = this.pixelOf(layer) / 2;
    return `wms?${new URLSearchParams({
      service: 'WMS', version: '1.3.0', request: 'GetFeatureInfo', layers: now.layer, query_layers: now.layer,
      styles: '', crs: this.tileSet.crs, bbox: [x - half, y - half, x + half, y + half].join(','),
      width: 1, height: 1, i: 0, j: 0, info_format: 'application/json', time,
    })}`;
  }

  /** Give the size of a layer's pixel in metres. */
  pixelOf(layer) {
    return /4326|CRS84|4674/.test(layer.crs) ? layer.pixel * 111320 : layer.pixel;
  }

  /** Give the request for the map as one image. */
  imageRequest() {
    const [width, height] = this.map.getSize() ?? [800, 600];
    return `wms?${new URLSearchParams({
      service: 'WMS', version: '1.3.0', request: 'GetMap', layers: now.layer, styles: now.style,
      crs: this.tileSet.crs, bbox: this.view.calculateExtent([width, height]).map((v) => v.toFixed(2)).join(','),
      width: Math.round(width), height: Math.round(height), format: 'image/png', transparent: 'true', time: this.times()[0],
    })}`;
  }

  /** Give the TIME of the first layer, and that of the second if there is one. */
  times() {
    // The services give the later of two in a request minus the earlier.
    if (now.compare === 'difference' && now.second) return [`${now.second},${now.time}`, null];
    return [now.time, now.compare === 'swipe' && now.second ? now.second : null];
  }

  showLayer() {
    const [first, second] = this.times();
    this.showSides(second);
    const extent = this.layerExtent();
    this.first.setSource(now.layer ? this.source(now.layer, now.style, first) : null);
    this.second.setSource(now.layer ? this.source(now.layer, now.style, second ?? first) : null);
    for (const layer of [this.first, this.second]) layer.setExtent(extent);
  }

  showTimes() {
    const [first, second] = this.times();
    this.showSides(second);
    this.first.getSource()?.updateDimensions({Time: first});
    if (second !== null) this.second.getSource()?.updateDimensions({Time: second});
  }

  showSides(second) {
    const same = now.compare === 'difference' && now.second === now.time;
    this.tell(same ? say('same_dates') : '');
    this.first.setVisible(!same);
    this.second.setVisible(second !== null);
    $('swipe').hidden = second === null;
  }

  source(layer, style, time) {
    const set = this.tileSet;
    const source = new WMTS({
      url: `wmts/1.0.0/${encodeURIComponent(layer)}/{style}/{Time}/{TileMatrixSet}/{TileMatrix}/{TileRow}/{TileCol}.png`,
      requestEncoding: 'REST',
      layer,
      style,
      dimensions: {Time: time},
      matrixSet: set.name,
      projection: this.projection,
      tileGrid: tileGrid(set),
      transition: 0,
    });
    source.on('tileloadstart', () => this.wait(1));
    source.on('tileloadend', () => this.wait(-1));
    source.on('tileloaderror', (event) => {
      this.wait(-1);
      this.explain(source.getTileUrlFunction()(event.tile.getTileCoord(), 1, this.projection));
    });
    return source;
  }

  wait(more) {
    this.waiting = Math.max(0, this.waiting + more);
    $('busy').hidden = this.waiting === 0;
    $('map').setAttribute('aria-busy', String(this.waiting > 0));
  }

  /** Say why an image did not come: the browser tells only that it did not, so it is asked for again. */
  async explain(url) {
    if (this.explaining) {
      this.unexplained = url;
      return;
    }
    this.explaining = true;
    this.unexplained = null;
    try {
      await ask(url, {kind: 'blob'});
      // It is there now. What fails as an image a second time is none.
      if (this.retried === url) this.tell(say('failed', {status: 200}));
      else this.again();
      this.retried = url;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.tell(error.message);
    }
    // Many tiles fail at once; one tells for all of a second.
    setTimeout(() => {
      this.explaining = false;
      if (this.unexplained) this.explain(this.unexplained);
    }, 1000);
  }

  /** Ask once more for what did not come. */
  again() {
    this.tell('');
    for (const layer of [this.first, this.second]) layer.getSource()?.refresh();
  }

  showGrid() {
    const known = this.catalogue.grids.some((g) => g.name === now.grid);
    this.tiles.setVisible(known);
    if (known) this.tiles.setSource(this.source(now.grid, 'outline', 'default'));
  }

  async showBorders() {
    this.borders.setVisible(now.borders);
    if (!now.borders) return;
    this.outlines ??= ask(`${document.body.dataset.files}countries.json`);
    const projection = this.projection;
    const outlines = await this.outlines;
    if (projection !== this.projection) return;
    // What lies on both sides of the map's seam would be drawn across all of it.
    const seam = Number(/lon_0=(\S+)/.exec(this.tileSet.proj ?? '')?.[1] ?? 0) + 180;
    const features = new GeoJSON().readFeatures(outlines).filter((feature) => {
      const [west, , east] = feature.getGeometry().getExtent();
      return east <= seam || west >= seam;
    });
    for (const feature of features) feature.getGeometry().transform(LONLAT, projection);
    this.borders.setSource(new VectorSource({features}));
  }

  showGraticule() {
    if (this.degrees) this.map.removeLayer(this.degrees);
    this.degrees = null;
    if (!now.graticule) return;
    this.degrees = new Graticule({
      strokeStyle: new Stroke({color: 'rgba(87, 96, 106, 0.35)', width: 1}),
      showLabels: true,
      latLabelPosition: 0.985,
      wrapX: false,
    });
    this.map.getLayers().insertAt(2, this.degrees);
  }

  showPoint() {
    const place = now.point && transform(now.point, LONLAT, this.projection);
    this.point.getSource().clear();
    if (place) this.point.getSource().addFeature(new Feature(new Point(place)));
  }

  /** Let a layer draw on its side of the swipe only. */
  clip(layer) {
    layer.on('prerender', (event) => {
      const context = event.context;
      context.save();
      if (!this.second.getVisible()) return;
      const [width, height] = this.map.getSize();
      const border = width * now.swipe;
      const [left, right] = layer === this.first ? [0, border] : [border, width];
      const corners = [[left, 0], [right, 0], [right, height], [left, height]].map((xy) => getRenderPixel(event, xy));
      context.beginPath();
      context.moveTo(...corners[0]);
      for (const corner of corners.slice(1)) context.lineTo(...corner);
      context.closePath();
      context.clip();
    });
    layer.on('postrender', (event) => event.context.restore());
  }

  /** Call a function once all images are drawn. */
  whenDrawn(done) {
    this.map.once('rendercomplete', done);
  }
}

function defineProjections(sets) {
  for (const {crs, proj, extent} of sets) {
    if (!proj) continue;
    proj4.defs(crs, proj);
    register(proj4);
    const projection = getProjection(crs);
    projection.setWorldExtent(WORLD);
    projection.setExtent(extent);
  }
}

function tileGrid(set) {
  return new TileGrid({
    origin: set.origin,
    extent: set.extent,
    resolutions: set.resolutions,
    matrixIds: set.resolutions.map((_, level) => String(level)),
    tileSize: set.size,
  });
}

function marker() {
  const line = (color, width) => new Stroke({color, width});
  return [
    new Style({image: new Circle({radius: 8, stroke: line('#ffffff', 4)})}),
    new Style({image: new Circle({radius: 8, stroke: line('#cf222e', 2), fill: new Fill({color: 'rgba(207, 34, 46, 0.1)'})})}),
  ];
}
