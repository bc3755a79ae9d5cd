// The dates of the layer: a slider over those that there are, and play.
import {$, draw} from './dom.js';
import {change, now, onChange} from './state.js';
import {readable, say} from './words.js';

const PAUSE = 900; // milliseconds that a date stays, once it is drawn

/** @param view the `MapView`, which tells when a date is drawn. */
export function startTimeBar(catalogue, view) {
  const slider = $('time');
  let playing = null;

  const starts = () => (catalogue.layers[now.layer]?.periods ?? []).map(([start]) => start);
  const at = () => Math.max(starts().indexOf(now.time), 0);
  const go = (number) => change({time: starts()[Math.min(Math.max(number, 0), starts().length - 1)]});

  function play() {
    stop();
    const run = {};
    playing = run;
    show();
    const step = () => {
      if (playing !== run) return;
      go((at() + 1) % starts().length);
      view.whenDrawn(() => setTimeout(step, PAUSE));
    };
    step();
  }

  function stop() {
    playing = null;
    show();
  }

  function stopAt(wanted) {
    stop();
    go(wanted);
  }

  function show() {
    const all = starts();
    const button = $('play');
    button.setAttribute('aria-pressed', String(playing !== null));
    button.querySelector('[aria-hidden]').textContent = playing ? '■' : '▶';
    button.querySelector('.text').textContent = say(playing ? 'stop' : 'play');
    slider.max = Math.max(all.length - 1, 0);
    slider.value = at();
    for (const part of [slider, button]) part.disabled = all.length < 2;
    $('previous').disabled = all.length < 2 || at() === 0;
    $('next').disabled = all.length < 2 || at() === all.length - 1;
    const text = now.time ? period(catalogue.layers[now.layer]?.periods[at()]) : '';
    slider.setAttribute('aria-valuetext', text);
    $('date').textContent = text;
  }

  function ticks() {
    const all = starts();
    const lines = all.length > 200 ? [] : all.map((_, i) => {
      const x = all.length > 1 ? (i / (all.length - 1)) * 1000 : 500;
      return draw('line', {x1: x, x2: x, y1: 0, y2: 6});
    });
    $('ticks').setAttribute('viewBox', '0 0 1000 6');
    $('ticks').replaceChildren(...lines);
  }

  slider.addEventListener('input', () => { stopAt(Number(slider.value)); });
  $('previous').addEventListener('click', () => stopAt(at() - 1));
  $('next').addEventListener('click', () => stopAt(at() + 1));
  $('play').addEventListener('click', () => (playing ? stop() : play()));
  $('times').addEventListener('submit', (event) => event.preventDefault());
  onChange((changed) => {
    if (changed.has('layer')) { stop(); ticks(); }
    if (changed.has('layer') || changed.has('time')) show();
  });
  show();
  ticks();
}

/** Write a period: its first and last day, or its only one. */
export function period([start, end] = []) {
  if (!start) return '';
  return start === end ? readable(start) : `${readable(start)} – ${readable(end)}`;
}
