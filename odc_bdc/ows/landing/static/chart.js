// A time series as SVG.
import {draw} from './dom.js';
import {number, readable} from './words.js';

const MARGIN = {left: 52, right: 12, top: 10, bottom: 26};

/** Give round values that cover a range, about `count` of them. */
export function ticks(low, high, count) {
  const step0 = (high - low || Math.abs(high) || 1) / count;
  const power = 10 ** Math.floor(Math.log10(step0));
  const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= step0 * 0.99);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({length: Math.max(last - first, 1) + 1}, (_, i) => Number(((first + i) * step).toFixed(digits)));
}

const day = (text) => Date.parse(`${text.slice(0, 10)}T00:00:00Z`);

/**
 * Draw values over time.
 *
 * @param points pairs of `time` (ISO 8601) and `value` (null where there is none), in order.
 * @param shown the times that the map shows.
 * @returns an SVG element, each value a `circle` with `data-time` and `data-value`.
 */
export function chart(points, {width, height, shown = [], label}) {
  const valid = points.filter((p) => p.value !== null);
  const svg = draw('svg', {viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': label});
  const levels = ticks(Math.min(...valid.map((p) => p.value)), Math.max(...valid.map((p) => p.value)), 4);
  const first = day(points[0].time);
  const span = Math.max(day(points.at(-1).time) - first, 1);
  const inner = {x: width - MARGIN.left - MARGIN.right, y: height - MARGIN.top - MARGIN.bottom};
  const single = points.length === 1;
  const x = (time) => MARGIN.left + (single ? 0.5 : (day(time) - first) / span) * inner.x;
  const y = (value) => MARGIN.top + (1 - (value - levels[0]) / (levels.at(-1) - levels[0])) * inner.y;
  for (const level of levels) {
    svg.append(draw('line', {class: 'level', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(level), y2: y(level)}));
    svg.append(draw('text', {x: MARGIN.left - 6, y: y(level) + 4, 'text-anchor': 'end'}, number(level)));
  }
  for (const at of written(points, x)) {
    const anchor = single ? 'middle' : at === points[0] ? 'start' : at === points.at(-1) ? 'end' : 'middle';
    svg.append(draw('text', {x: x(at.time), y: height - 8, 'text-anchor': anchor}, readable(at.time)));
  }
  for (const time of shown) {
    if (points.some((p) => p.time === time)) {
      svg.append(draw('line', {class: 'shown', x1: x(time), x2: x(time), y1: MARGIN.top, y2: height - MARGIN.bottom}));
    }
  }
  svg.append(draw('path', {class: 'line', d: path(points, x, y)}));
  for (const p of valid) {
    svg.append(draw('circle', {
      cx: x(p.time), cy: y(p.value), r: points.length > 80 ? 2.5 : 4, 'data-time': p.time, 'data-value': p.value,
    }, draw('title', {}, `${readable(p.time)}: ${number(p.value)}`)));
  }
  return svg;
}

/** Where a value is missing, the line is broken. */
function path(points, x, y) {
  let pen = 'M';
  return points.map((p) => {
    if (p.value === null) {
      pen = 'M';
      return '';
    }
    const step = `${pen}${x(p.time).toFixed(1)} ${y(p.value).toFixed(1)}`;
    pen = 'L';
    return step;
  }).join('');
}

/** Give the points whose dates are written below: the first, the last, and what has room between. */
function written(points, x) {
  const last = points.at(-1);
  const found = [points[0]];
  for (const point of points) {
    // Texts of the first and last are beside their place, others around it.
    const before = x(point.time) - x(found.at(-1).time);
    const after = x(last.time) - x(point.time);
    if (before > (found.length === 1 ? 150 : 110) && after > 150) found.push(point);
  }
  return points.length > 1 ? [...found, last] : found;
}
