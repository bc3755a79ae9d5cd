// The handle between two dates: dragged, or moved by arrow keys.
import {$} from './dom.js';
import {change, now, onChange} from './state.js';
import {readable} from './words.js';

const STEPS = {ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1};

export function startSwipe() {
  const handle = $('swipe');
  const to = (share) => change({swipe: Math.min(1, Math.max(0, share))});
  handle.addEventListener('pointerdown', (event) => {
    event.stopPropagation();
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener('pointermove', (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    event.stopPropagation();
    const box = handle.parentElement.getBoundingClientRect();
    to((event.clientX - box.left) / box.width);
  });
  handle.addEventListener('click', (event) => event.stopPropagation());
  handle.addEventListener('keydown', (event) => {
    const step = STEPS[event.key];
    if (step) to(now.swipe + step);
    else if (event.key === 'Home' || event.key === 'End') to(event.key === 'Home' ? 0 : 1);
    else return;
    // Else the map would move too.
    event.preventDefault();
    event.stopPropagation();
  });
  onChange(show);
  show();
}

function show() {
  const handle = $('swipe');
  handle.style.left = `${now.swipe * 100}%`;
  handle.setAttribute('aria-valuenow', Math.round(now.swipe * 100));
  if (!now.time || !now.second) return;
  handle.setAttribute('aria-valuetext', `${readable(now.time)} | ${readable(now.second)}`);
  handle.querySelector('.before').textContent = readable(now.time);
  handle.querySelector('.after').textContent = readable(now.second);
}
