// What is here, and how it is shown.
import {$, make, options} from './dom.js';
import {change, now, onChange} from './state.js';
import {ask} from './server.js';
import {number, readable, say} from './words.js';
import {period} from './time_bar.js';

/** @param view the `MapView`. */
export function startSide(catalogue, view) {
  summary(catalogue);
  $('tree').replaceChildren(...catalogue.folders.map((part) => branch(catalogue, part)));
  $('tree').addEventListener('change', (event) => choose(catalogue, event.target.value, view));
  for (const form of [$('tree'), $('view')]) form.addEventListener('submit', (event) => event.preventDefault());
  if (Object.keys(catalogue.layers).length === 0) return;
  $('view').hidden = false;
  $('about').hidden = false;
  options($('set'), catalogue.tile_sets.map(({name}) => [name, say(`set_${name}`)]));
  options($('grid'), [['', say('none')], ...catalogue.grids.map(({name, title}) => [name, title])]);
  for (const name of ['style', 'compare', 'second', 'set', 'grid']) {
    $(name).addEventListener('change', (event) => change({[name]: event.target.value}));
  }
  for (const name of ['borders', 'graticule']) {
    $(name).addEventListener('change', (event) => change({[name]: event.target.checked}));
  }
  $('opacity').addEventListener('input', (event) => change({opacity: Number(event.target.value) / 100}));
  $('whole').addEventListener('click', () => view.showWhole());
  onChange((changed) => show(catalogue, changed));
  show(catalogue, new Set(['layer', 'style']));
}

/** Give the values that a layer needs in place of those that it does not have. */
export function fitting(catalogue, asked) {
  const name = asked.layer in catalogue.layers ? asked.layer : leaves(catalogue.folders)[0] ?? '';
  const layer = catalogue.layers[name];
  if (!layer) return {layer: '', style: '', time: '', second: '', compare: ''};
  const style = layer.styles.find((s) => s.name === asked.style)
    ?? layer.styles.find((s) => s.name === layer.default_style) ?? layer.styles[0];
  const starts = layer.periods.map(([start]) => start);
  const time = nearest(starts, asked.time) ?? starts.at(-1);
  const compare = starts.length > 1 && (asked.compare === 'swipe' || (asked.compare === 'difference' && style.difference))
    ? asked.compare : '';
  const second = nearest(starts, asked.second) ?? starts[0];
  return {layer: name, style: style.name, time, compare, second};
}

/** Give the date that is nearest to one; nothing if that is none. */
function nearest(starts, day) {
  if (starts.includes(day)) return day;
  const at = Date.parse(day);
  if (Number.isNaN(at)) return undefined;
  const far = (start) => Math.abs(Date.parse(start) - at);
  return starts.reduce((best, start) => (far(start) < far(best) ? start : best));
}

function choose(catalogue, name, view) {
  const before = catalogue.layers[now.layer]?.bbox;
  change(fitting(catalogue, {...now, layer: name}));
  const after = catalogue.layers[name].bbox;
  const apart = before && (after[0] >= before[2] || after[2] <= before[0] || after[1] >= before[3] || after[3] <= before[1]);
  if (apart) view.showWhole();
}

function leaves(parts) {
  return parts.flatMap((part) => (typeof part === 'string' ? [part] : leaves(part.children)));
}

function summary(catalogue) {
  const layers = Object.values(catalogue.layers);
  const days = layers.flatMap(({periods}) => periods.flat()).sort();
  $('summary').replaceChildren(layers.length === 0 ? say('nothing') : say('summary', {
    layers: layers.length, first: readable(days[0]), last: readable(days.at(-1)),
  }));
  $('summary').classList.toggle('notice', layers.length === 0);
  if (catalogue.hidden.length) {
    const names = catalogue.hidden.join(', ');
    $('summary').after(make('p', {class: 'notice', id: 'hidden'}, say('hidden', {names})));
  }
}

function branch(catalogue, part, depth = 0) {
  if (typeof part !== 'string') {
    const inner = part.children.map((child) => branch(catalogue, child, depth + 1));
    if (!part.title) return make('div', {}, ...inner);
    return make('details', {open: true, class: `depth-${depth}`}, make('summary', {}, part.title), ...inner);
  }
  const layer = catalogue.layers[part];
  const radio = make('input', {type: 'radio', name: 'layer', value: part, checked: part === now.layer});
  const count = layer.tiles === null ? '' : ` · ${say(layer.tiles === 1 ? 'one_tile' : 'some_tiles', {count: number(layer.tiles)})}`;
  const span = `${layer.periods[0][0].slice(0, 7)} – ${layer.periods.at(-1)[1].slice(0, 7)}`;
  return make('label', {class: 'layer', title: layer.about}, radio, make('span', {}, layer.title, make('small', {}, `${span}${count}`)));
}

function show(catalogue, changed) {
  const layer = catalogue.layers[now.layer];
  if (!layer) return;
  if (changed.has('layer')) {
    options($('style'), layer.styles.map(({name, title}) => [name, title]), now.style);
    options($('second'), layer.periods.map((p) => [p[0], period(p)]), now.second);
    about(layer);
    for (const radio of $('tree').elements) radio.checked = radio.value === now.layer;
  }
  const style = layer.styles.find((s) => s.name === now.style);
  if (changed.has('style') || changed.has('layer')) {
    const cannot = now.compare === 'difference' && !style.difference;
    if (cannot) change({compare: ''});
    $('style-about').textContent = style.about;
    $('compare').querySelector('[value=difference]').disabled = !style.difference;
    $('compare').disabled = layer.periods.length < 2;
  }
  if (changed.has('style') || changed.has('layer') || changed.has('compare')) legend(style);
  for (const name of ['style', 'compare', 'second', 'set', 'grid']) $(name).value = now[name];
  for (const name of ['borders', 'graticule']) $(name).checked = now[name];
  $('opacity').value = now.opacity * 100;
  $('opacity').setAttribute('aria-valuetext', `${Math.round(now.opacity * 100)} %`);
  $('second-row').hidden = !now.compare;
}

function about(layer) {
  const facts = [
    ['name', now.layer],
    ['time_range', `${readable(layer.periods[0][0])} ${say('to')} ${readable(layer.periods.at(-1)[1])}`],
    ['images', number(layer.periods.length)],
    ['tiles', layer.tiles === null ? null : number(layer.tiles)],
    ['datasets', layer.datasets === null ? null : number(layer.datasets)],
    ['pixel', `${number(layer.pixel)} ${/4326|CRS84|4674/.test(layer.crs) ? '°' : 'm'}`],
    ['crs', layer.crs],
  ];
  $('about').querySelector('p').textContent = layer.about;
  $('about').querySelector('dl').replaceChildren(...facts.filter(([, fact]) => fact !== null)
    .flatMap(([key, fact]) => [make('dt', {}, say(key)), make('dd', {}, fact)]));
}

let legendAsked = '';

async function legend(style) {
  const image = $('legend');
  const count = now.compare === 'difference' ? '?ndates=2' : '';
  const url = `legend/${encodeURIComponent(now.layer)}/${encodeURIComponent(now.style)}/legend.png${count}`;
  if (url === legendAsked) return;
  legendAsked = url;
  let picture = null;
  try {
    picture = await ask(url, {kind: 'blob'});
  } catch {
    // A style may have no legend; the map itself tells if the server is down.
  }
  if (url !== legendAsked) return;
  if (image.src) URL.revokeObjectURL(image.src);
  image.hidden = picture === null;
  image.alt = picture ? say('legend', {style: style.title}) : '';
  if (picture) image.src = URL.createObjectURL(picture);
  else image.removeAttribute('src');
}
