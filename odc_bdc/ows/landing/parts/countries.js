// Outlines of countries from Natural Earth: South America at 1:50 million, the rest at 1:110 million.
import {createRequire} from 'node:module';
import {writeFileSync} from 'node:fs';
import {feature} from 'topojson-client';

const require = createRequire(import.meta.url);
// ISO 3166-1 numbers; 010 is Antarctica, which no projection of the page can show.
const NEAR = new Set(['032', '068', '076', '152', '170', '218', '238', '254', '328', '600', '604',
  '740', '858', '862']);
const LEFT_OUT = new Set(['010']);

function read(scale) {
  const atlas = require(`world-atlas/countries-${scale}.json`);
  return feature(atlas, atlas.objects.countries).features;
}

// To 0.01 degrees, about 1 km: finer than the outlines are true.
function rounded(part) {
  if (typeof part[0][0] !== 'number') return part.map(rounded);
  const points = part.map((xy) => xy.map((v) => Number(v.toFixed(2))));
  return points.filter((p, i) => i === 0 || p[0] !== points[i - 1][0] || p[1] !== points[i - 1][1]);
}

const near = read('50m').filter((f) => NEAR.has(f.id));
const far = read('110m').filter((f) => !NEAR.has(f.id) && !LEFT_OUT.has(f.id));
// Each island is a feature of its own, for the page leaves out those that a map's seam cuts.
const polygons = [...near, ...far].flatMap(({geometry: {type, coordinates}}) => (
  type === 'Polygon' ? [coordinates] : coordinates));
const features = polygons.map((polygon) => ({
  type: 'Feature',
  properties: {},
  geometry: {type: 'Polygon', coordinates: rounded(polygon)},
}));
writeFileSync('../static/countries.json', JSON.stringify({type: 'FeatureCollection', features}));
