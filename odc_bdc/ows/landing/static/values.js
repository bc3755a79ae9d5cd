// Values at a place, and how they change over time.
import {$, make, options} from './dom.js';
import {chart} from './chart.js';
import {change, now, onChange} from './state.js';
import {ask, Failure} from './server.js';
import {number, readable, say} from './words.js';

const MOST = 250; // dates that the services tell of at once

let known = null; // {layer, point, times: [{time, bands, ...}]}
let asking = null;

/** @param view the `MapView`. */
export function startValues(catalogue, view, tell) {
  $('centre').addEventListener('click', () => view.pick(view.view.getCenter()));
  $('close').addEventListener('click', () => {
    change({point: null});
    $('centre').focus();
  });
  $('band').addEventListener('change', (event) => change({band: event.target.value}));
  $('csv').addEventListener('click', download);
  $('chart').addEventListener('keydown', step);
  $('chart').addEventListener('click', (event) => {
    const time = event.target.closest('circle')?.dataset.time;
    if (time) change({time});
  });
  new ResizeObserver(() => drawSeries()).observe($('chart'));
  onChange((changed) => {
    if (['point', 'layer', 'set'].some((name) => changed.has(name))) load(catalogue, view, tell);
    else if (changed.has('time') && known) {
      if (known.times.some((t) => t.time === now.time)) showNow();
      else load(catalogue, view, tell);
      drawSeries();
    } else if (['band', 'second', 'compare'].some((name) => changed.has(name))) drawSeries();
  });
  load(catalogue, view, tell);
}

async function load(catalogue, view, tell) {
  asking?.abort();
  known = null;
  const layer = catalogue.layers[now.layer];
  const {point} = now;
  $('close').hidden = !point;
  if (!point || !layer) {
    $('found').hidden = true;
    $('place').textContent = say('values_hint');
    return;
  }
  const run = new AbortController();
  asking = run;
  $('place').textContent = `${placed(point)} · ${say('loading')}`;
  $('values').setAttribute('aria-busy', 'true');
  try {
    // The date that is shown comes first, for a long series takes its time.
    const {signal} = run;
    const first = await ask(view.valuesRequest(point, now.time), {signal, retries: 1});
    if (run !== asking) return;
    known = {layer: now.layer, point, times: times(first), part: null};
    $('found').hidden = false;
    showNow();
    const part = around(layer.periods, now.time);
    if (part.length > 1) {
      const range = `${part[0][0]}/${part.at(-1)[1]}`;
      const all = await ask(view.valuesRequest(point, range), {signal, retries: 1});
      if (run !== asking) return;
      known.times = times(all, part);
      if (part.length < layer.periods.length) known.part = {count: part.length, all: layer.periods.length};
    }
    $('place').textContent = placed(point);
    fillBands();
    drawSeries();
  } catch (error) {
    if (error.name === 'AbortError') return;
    if (!(error instanceof Failure)) throw error;
    $('place').textContent = placed(point);
    tell(error.message);
  } finally {
    if (run === asking) $('values').removeAttribute('aria-busy');
  }
}

/** Give the dates that can be asked for at once: all, or those around one. */
function around(periods, time) {
  const at = periods.findIndex(([start]) => start === time);
  const first = Math.max(0, Math.min(at - MOST / 2, periods.length - MOST));
  return periods.slice(first, first + MOST);
}

/** Give indices, then bands, each in the order of their names; a stored index is a band. */
function valuesOf({band_derived: derived, bands}) {
  const named = (pairs) => pairs.sort(([a], [b]) => a.localeCompare(b, 'en', {numeric: true}));
  const indices = named(Object.entries(derived ?? {}).map(([name, value]) => [name.toUpperCase(), value]));
  // A band of classes has the names of its flags, which the quality tells in words.
  const plain = named(Object.entries(bands ?? {}).filter(([, value]) => typeof value !== 'object'));
  return Object.fromEntries([...indices, ...plain]);
}

/** Read an answer: what each time has; times without an image have nothing. */
function times(answer, periods = []) {
  const data = answer.features?.[0]?.properties.data ?? [];
  const found = data.filter((t) => /^\d{4}-/.test(t.time)).map((t) => ({
    ...t,
    time: t.time.slice(0, 10),
    values: valuesOf(t),
  }));
  const missing = periods.map(([start]) => start).filter((start) => !found.some((t) => t.time === start));
  return [...found, ...missing.map((time) => ({time, values: {}}))].sort((a, b) => a.time.localeCompare(b.time));
}

function placed([lon, lat]) {
  const degrees = (value, names) => `${number(Math.abs(value))}° ${names[value < 0 ? 1 : 0]}`;
  return `${degrees(lat, 'NS')}, ${degrees(lon, ['E', document.documentElement.lang === 'pt' ? 'O' : 'W'])}`;
}

const text = (value) => (typeof value === 'number' ? number(value) : value === 'n/a' ? '–' : String(value));

function showNow() {
  const here = known.times.find((t) => t.time === now.time);
  if (!here || Object.keys(here.values).length === 0) {
    $('now').replaceChildren(make('p', {}, say('no_image')));
    return;
  }
  const facts = [
    ['period', here.period?.split('/').map(readable).join(' – ')],
    ['date_chosen', here.date_chosen && here.date_chosen !== 'n/a' ? readable(here.date_chosen) : null],
    ['quality', here.quality && say(here.quality)],
  ].filter(([, fact]) => fact);
  const list = make('dl', {class: 'facts'}, ...facts.flatMap(([key, fact]) => [make('dt', {}, say(key)), make('dd', {}, fact)]));
  const cells = Object.entries(here.values).map(([band, value]) => make('div', {}, make('dt', {}, band), make('dd', {}, text(value))));
  $('now').replaceChildren(list, make('dl', {class: 'values'}, ...cells));
}

function fillBands() {
  const all = [...new Set(known.times.flatMap((t) => Object.keys(t.values)))]
    .filter((band) => known.times.some((t) => typeof t.values[band] === 'number' || t.values[band] === 'n/a'));
  const wish = all.includes(now.band) ? now.band : all.includes('NDVI') ? 'NDVI' : all[0];
  options($('band'), all.map((band) => [band, band]), wish);
}

function points() {
  const band = $('band').value;
  return known.times.map((t) => ({time: t.time, value: typeof t.values[band] === 'number' ? t.values[band] : null}));
}

function drawSeries() {
  if (!known || !known.times.length || !$('band').options.length) {
    $('series').hidden = true;
    return;
  }
  if ([...$('band').options].some((o) => o.value === now.band)) $('band').value = now.band;
  const band = $('band').value;
  const all = points();
  $('series').hidden = all.length === 0;
  $('reading').textContent = known.part ? say('series_part', known.part) : '';
  if (all.every((p) => p.value === null)) {
    $('chart').replaceChildren(make('p', {}, say('series_empty', {band})));
  } else {
    const width = Math.max($('chart').clientWidth, 240);
    const label = say('series_chart', {band, count: all.length, first: readable(all[0].time), last: readable(all.at(-1).time)});
    const shown = [now.time, now.compare ? now.second : null].filter(Boolean);
    const focused = document.activeElement === $('chart').firstChild;
    const picture = chart(all, {width, height: 190, shown, label});
    picture.setAttribute('tabindex', '0');
    $('chart').replaceChildren(picture);
    if (focused) picture.focus({preventScroll: true});
  }
  table(band, all);
}

function table(band, all) {
  const head = [say('time'), band, say('quality'), say('date_chosen')];
  const rows = all.map(({time, value}) => {
    const {quality, date_chosen: chosen} = known.times.find((t) => t.time === time);
    const cells = [value === null ? '–' : number(value), quality ? say(quality) : '', chosen ?? ''];
    return make('tr', {}, make('th', {scope: 'row'}, readable(time)), ...cells.map((cell) => make('td', {}, cell)));
  });
  $('table').replaceChildren(make('table', {},
    make('thead', {}, make('tr', {}, ...head.map((cell) => make('th', {scope: 'col'}, cell)))),
    make('tbody', {}, ...rows)));
}

let reading = null;

/** Go from date to date by keys, reading each. */
function step(event) {
  const moves = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity};
  const all = points();
  if (event.key in moves) {
    const at = all.findIndex((p) => p.time === (reading ?? now.time));
    const {time, value} = all[Math.min(Math.max(at + moves[event.key], 0), all.length - 1)];
    reading = time;
    for (const dot of $('chart').querySelectorAll('circle')) dot.classList.toggle('read', dot.dataset.time === time);
    $('reading').textContent = `${readable(time)}: ${value === null ? say('no data') : number(value)}`;
  } else if (event.key === 'Enter' && reading) {
    change({time: reading});
  } else {
    return;
  }
  event.preventDefault();
}

function download() {
  const bands = [...$('band').options].map((o) => o.value);
  const raw = (v) => (v === undefined || v === 'n/a' ? '' : String(v));
  const cell = (v) => (/[",\n]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);
  const rows = known.times.map((t) => [t.time, ...bands.map((b) => raw(t.values[b])), t.quality ?? '', t.date_chosen ?? '']);
  const lines = [['time', ...bands, 'quality', 'date_chosen'], ...rows].map((row) => row.map(cell).join(','));
  const url = URL.createObjectURL(new Blob([`${lines.join('\n')}\n`], {type: 'text/csv'}));
  const link = make('a', {href: url, download: `${known.layer}_${known.point.join('_')}.csv`});
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
