// What is shown, kept in the address after the #, so that a view can be shared and bookmarked.

const DEFAULTS = {
  layer: '', style: '', time: '', compare: '', second: '', swipe: 0.5, opacity: 1, set: '', grid: '',
  borders: true, graticule: true, at: null, zoom: null, point: null, band: '',
};

const state = {...DEFAULTS};
const listeners = [];
let writing = 0;

/** Give the state as it is; only `change` may change it. */
export const now = state;

/** Call a function after each change, with the set of names that changed. */
export function onChange(listener) {
  listeners.push(listener);
}

/** Change some values; those that are the same already are no change. */
export function change(values) {
  const changed = new Set();
  for (const [key, value] of Object.entries(values)) {
    if (JSON.stringify(state[key]) !== JSON.stringify(value)) {
      state[key] = value;
      changed.add(key);
    }
  }
  if (changed.size === 0) return;
  for (const listener of listeners) listener(changed);
  // Browsers refuse more than a few changes of the address per second.
  clearTimeout(writing);
  writing = setTimeout(write, 150);
}

/** Read the address; values that make no sense are as if they were not there. */
export function read() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const found = {...DEFAULTS};
  for (const [key, value] of asked) {
    if (key in DEFAULTS) found[key] = parsed(key, value) ?? DEFAULTS[key];
  }
  return found;
}

function parsed(key, text) {
  const numbers = text.split(',').map(Number);
  const isPlace = numbers.length === 2 && numbers.every(Number.isFinite)
    && Math.abs(numbers[0]) <= 180 && Math.abs(numbers[1]) <= 90;
  const [value] = numbers;
  switch (key) {
    case 'at': case 'point': return isPlace ? numbers : null;
    case 'zoom': return Number.isFinite(value) && value >= 0 ? Math.min(value, 30) : null;
    case 'swipe': case 'opacity': return value >= 0 && value <= 1 ? value : null;
    case 'borders': case 'graticule': return text !== '0';
    default: return text;
  }
}

function written(value) {
  if (Array.isArray(value)) return value.map((v) => v.toFixed(5)).join(',');
  if (typeof value === 'boolean') return value ? '1' : '0';
  return typeof value === 'number' ? String(Number(value.toFixed(2))) : value;
}

/** Give the address of the page as it is. */
export function address() {
  const told = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (value !== null && value !== DEFAULTS[key]) told.set(key, written(value));
  }
  return `#${told}`;
}

function write() {
  history.replaceState(null, '', address());
}
