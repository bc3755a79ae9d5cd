// What the tests take of OpenLayers and proj4, as somebody's own map would.
export {default as proj4} from 'proj4';
export {default as ImageLayer} from 'ol/layer/Image.js';
export {default as ImageWMS} from 'ol/source/ImageWMS.js';
export {default as Map} from 'ol/Map.js';
export {default as TileLayer} from 'ol/layer/Tile.js';
export {default as TileWMS} from 'ol/source/TileWMS.js';
export {default as View} from 'ol/View.js';
export {default as WMSCapabilities} from 'ol/format/WMSCapabilities.js';
export {default as WMTS, optionsFromCapabilities} from 'ol/source/WMTS.js';
export {default as WMTSCapabilities} from 'ol/format/WMTSCapabilities.js';
export {get as getProjection} from 'ol/proj.js';
export {register} from 'ol/proj/proj4.js';
