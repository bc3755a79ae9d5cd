// Addresses for other programs, to be copied.
import {$, make} from './dom.js';
import {address, now, onChange} from './state.js';
import {say} from './words.js';

const XYZ = 'WholeWorld_WebMercator';

/** @param view the `MapView`. */
export function startAddresses(catalogue, view) {
  // As the browser reaches the services, so through any proxy.
  const base = new URL('.', location.href).href.replace(/[?#].*$/, '').replace(/\/$/, '');
  const [first] = view ? view.times() : [''];
  const rows = {
    wms: ['WMS', () => `${base}/wms`],
    wmts: ['WMTS', () => `${base}/wmts?service=WMTS&request=GetCapabilities`],
    wcs: ['WCS', () => `${base}/wcs`],
  };
  if (view && first) {
    const has = catalogue.tile_sets.some((set) => set.name === XYZ);
    if (has) {
      rows.xyz = [say('address_xyz'), () => `${base}/wmts/1.0.0/${[now.layer, now.style, now.time].map(encodeURIComponent).join('/')}/${XYZ}/{z}/{y}/{x}.png`];
    }
    rows.image = [say('address_image'), () => `${base}/${view.imageRequest()}`];
    rows.page = [say('address_page'), () => `${base}/${location.search}${address()}`];
  }
  const fields = Object.entries(rows).map(([key, [title, give]]) => {
    const field = make('input', {id: `address-${key}`, readonly: true, type: 'text', value: give()});
    const button = make('button', {type: 'button', 'aria-label': `${say('copy')}: ${title}`}, say('copy'));
    button.addEventListener('click', () => copy(field, button));
    $('address-list').append(make('div', {class: 'address'}, make('label', {for: field.id}, title), field, button));
    return [field, give];
  });
  const show = () => { for (const [field, give] of fields) field.value = give(); };
  $('address-list').querySelector('noscript')?.remove();
  onChange(show);
}

async function copy(field, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    // Without https there is no clipboard to write to.
    field.focus();
    field.select();
    done = document.execCommand('copy');
  }
  button.textContent = say(done ? 'copied' : 'copy_failed');
  setTimeout(() => { button.textContent = say('copy'); }, 3000);
}
