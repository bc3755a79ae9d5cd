// A page that holds its images: a map, sliders of dates, opacity and a swipe. `ol` is OpenLayers.
const data = JSON.parse(document.getElementById('data').textContent);
const $ = (selector, within = document) => within.querySelector(selector);
const WEB = 'EPSG:3857';
const PAUSE = 900; // milliseconds that a date stays
const STEPS = {ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1};

/** Write a day of ISO 8601 in the way of the language; other texts stay as they are. */
function readable(label) {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(label)) return label;
  const [year, month, date] = label.split('-').map(Number);
  return new Date(Date.UTC(year, month - 1, date)).toLocaleDateString(document.documentElement.lang === 'pt' ? 'pt-BR' : 'en-GB', {
    day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC',
  });
}

function tell(sentence) {
  $('#message').hidden = !sentence;
  $('#message p').textContent = sentence;
}

/** One side: its layer, and which of its images is shown. */
class Side {
  constructor(told, form) {
    this.told = told;
    this.form = form;
    this.sources = new Map();
    this.layer = new ol.ImageLayer({className: `image-${form.dataset.number}`, opacity: $('#opacity').value / 100});
    this.playing = null;
    const slider = $('input', form);
    slider.addEventListener('input', () => { this.stop(); this.go(Number(slider.value)); });
    $('.previous', form).addEventListener('click', () => { this.stop(); this.go(this.number - 1); });
    $('.next', form).addEventListener('click', () => { this.stop(); this.go(this.number + 1); });
    $('.play', form).addEventListener('click', () => (this.playing ? this.stop() : this.play()));
    form.addEventListener('submit', (event) => event.preventDefault());
    this.go(told.start);
  }

  get label() {
    return readable(this.told.labels[this.number]);
  }

  go(number) {
    const last = this.told.labels.length - 1;
    this.number = Math.min(Math.max(number, 0), last);
    if (this.told.wms) this.ask();
    else this.layer.setSource(this.image(this.number));
    const slider = $('input', this.form);
    slider.value = this.number;
    slider.setAttribute('aria-valuetext', this.label);
    $('output', this.form).textContent = this.label;
    $('.previous', this.form).disabled = this.number === 0;
    $('.next', this.form).disabled = this.number === last;
    showSwipe();
  }

  image(number) {
    if (!this.sources.has(number)) {
      const url = data.images[this.told.images[number]];
      this.sources.set(number, new ol.ImageStatic({url, imageExtent: this.told.extent, projection: WEB, interpolate: false}));
    }
    return this.sources.get(number);
  }

  /** Show an image of a map server. */
  ask() {
    const {url, layer, style, times} = this.told.wms;
    const params = {LAYERS: layer, STYLES: style, VERSION: '1.3.0', FORMAT: 'image/png', TRANSPARENT: true};
    if (times.length) params.TIME = times[this.number];
    if (this.layer.getSource()) {
      this.layer.getSource().updateParams(params);
      return;
    }
    const source = new ol.ImageWMS({url, params, projection: WEB, ratio: 1, interpolate: false});
    source.on('imageloaderror', () => tell(this.told.wms.silent));
    source.on('imageloadend', () => tell(''));
    this.layer.setSource(source);
  }

  play() {
    const run = {};
    this.playing = run;
    this.showPlaying();
    const step = () => {
      if (this.playing !== run) return;
      this.go((this.number + 1) % this.told.labels.length);
      map.once('rendercomplete', () => setTimeout(step, PAUSE));
      map.render();
    };
    step();
  }

  stop() {
    this.playing = null;
    this.showPlaying();
  }

  showPlaying() {
    const button = $('.play', this.form);
    button.setAttribute('aria-pressed', String(this.playing !== null));
    button.textContent = this.playing ? '■' : '▶';
  }
}

let share = 0.5; // where the border is, from left
let sides = [];

/** Give the titles without the name of the product, if both are of the same. */
function titles() {
  const [one, other] = sides.map((side) => side.told.title.split(', '));
  const same = one.length > 1 && one[0] === other[0];
  return [one, other].map((parts) => parts.slice(same ? 1 : 0).join(', '));
}

function showSwipe() {
  const handle = $('#swipe');
  if (sides.length < 2) return;
  handle.hidden = false;
  handle.style.left = `${share * 100}%`;
  handle.setAttribute('aria-valuenow', Math.round(share * 100));
  const texts = sides.map((side) => (side.label || side.told.title));
  if (texts[0] === texts[1]) titles().forEach((title, i) => { texts[i] = title; });
  handle.setAttribute('aria-valuetext', texts.join(' | '));
  $('.before', handle).textContent = texts[0];
  $('.after', handle).textContent = texts[1];
}

function startSwipe() {
  const handle = $('#swipe');
  const to = (wanted) => { share = Math.min(1, Math.max(0, wanted)); showSwipe(); map.render(); };
  handle.addEventListener('pointerdown', (event) => { event.stopPropagation(); handle.setPointerCapture(event.pointerId); });
  handle.addEventListener('pointermove', (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    event.stopPropagation();
    const box = handle.parentElement.getBoundingClientRect();
    to((event.clientX - box.left) / box.width);
  });
  handle.addEventListener('keydown', (event) => {
    const step = STEPS[event.key];
    if (step) to(share + step);
    else if (event.key === 'Home' || event.key === 'End') to(event.key === 'Home' ? 0 : 1);
    else return;
    // Else the map would move too.
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Draw a side on its half of the map only. */
function clip(layer, isLeft) {
  layer.on('prerender', (event) => {
    const context = event.context;
    context.save();
    const [width, height] = map.getSize();
    const border = width * share;
    const [left, right] = isLeft ? [0, border] : [border, width];
    const corners = [[left, 0], [right, 0], [right, height], [left, height]].map((xy) => ol.getRenderPixel(event, xy));
    context.beginPath();
    context.moveTo(...corners[0]);
    for (const corner of corners.slice(1)) context.lineTo(...corner);
    context.closePath();
    context.clip();
  });
  layer.on('postrender', (event) => event.context.restore());
}

const countries = new ol.VectorLayer({
  style: new ol.Style({stroke: new ol.Stroke({color: '#57606a', width: 1})}),
  source: new ol.VectorSource({
    features: new ol.GeoJSON().readFeatures(data.countries, {dataProjection: 'EPSG:4326', featureProjection: WEB}),
  }),
});
const map = new ol.Map({
  target: 'map',
  layers: [countries],
  controls: [new ol.Zoom({zoomInTipLabel: data.zoomIn, zoomOutTipLabel: data.zoomOut}), new ol.ScaleLine()],
  interactions: ol.defaultInteractions(),
  view: new ol.View({projection: WEB, enableRotation: false}),
});
const whole = () => map.getView().fit(data.extent, {padding: [20, 20, 20, 20]});

sides = data.sides.map((told, i) => {
  const form = document.querySelectorAll('.dates')[i];
  form.dataset.number = i;
  return new Side(told, form);
});
sides.forEach((side, i) => {
  if (sides.length === 2) clip(side.layer, i === 0);
  map.getLayers().insertAt(i, side.layer);
});
startSwipe();
showSwipe();
whole();
$('#opacity').addEventListener('input', (event) => sides.forEach((side) => side.layer.setOpacity(event.target.value / 100)));
$('#countries').addEventListener('change', (event) => countries.setVisible(event.target.checked));
$('#whole').addEventListener('click', whole);
$('#how').addEventListener('submit', (event) => event.preventDefault());
