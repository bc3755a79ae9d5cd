// What the page, and the pages that notebooks export, take of OpenLayers and proj4; of proj4 no projection but that of the BDC.
import proj4 from 'proj4/lib/core.js';
import Proj from 'proj4/lib/Proj.js';
import albers from 'proj4/lib/projections/aea.js';
import defs from 'proj4/lib/defs.js';

Proj.projections.add(albers);
// OpenLayers registers all that there are, but UTM and polar ones are left out here.
for (const name of Object.keys(defs)) {
  if (/^EPSG:(32[67]\d\d|504[12])$/.test(name)) delete defs[name];
}
proj4.defs = defs;

export {proj4};
export {default as Feature} from 'ol/Feature.js';
export {default as GeoJSON} from 'ol/format/GeoJSON.js';
export {default as Graticule} from 'ol/layer/Graticule.js';
export {default as ImageLayer} from 'ol/layer/Image.js';
export {default as ImageStatic} from 'ol/source/ImageStatic.js';
export {default as ImageWMS} from 'ol/source/ImageWMS.js';
export {default as Map} from 'ol/Map.js';
export {default as Point} from 'ol/geom/Point.js';
export {default as ScaleLine} from 'ol/control/ScaleLine.js';
export {default as TileGrid} from 'ol/tilegrid/WMTS.js';
export {default as TileLayer} from 'ol/layer/Tile.js';
export {default as VectorLayer} from 'ol/layer/Vector.js';
export {default as VectorSource} from 'ol/source/Vector.js';
export {default as View} from 'ol/View.js';
export {default as WMTS} from 'ol/source/WMTS.js';
export {default as Zoom} from 'ol/control/Zoom.js';
export {Circle, Fill, Stroke, Style, Text} from 'ol/style.js';
export {defaults as defaultInteractions} from 'ol/interaction/defaults.js';
export {get as getProjection, transform, transformExtent} from 'ol/proj.js';
export {getRenderPixel} from 'ol/render.js';
export {register} from 'ol/proj/proj4.js';
