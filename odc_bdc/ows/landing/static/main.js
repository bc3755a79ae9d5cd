// The page: reads what the services have, and lets the parts show it.
import {$} from './dom.js';
import {startAddresses} from './addresses.js';
import {MapView} from './map_view.js';
import {startSide, fitting} from './side.js';
import {ask, Failure} from './server.js';
import {change, now, read} from './state.js';
import {startSwipe} from './swipe.js';
import {startTimeBar} from './time_bar.js';
import {startValues} from './values.js';

/** Show a sentence about what went wrong above the map; none takes it away. */
function tell(sentence) {
  $('message').hidden = !sentence;
  $('message').querySelector('p').textContent = sentence;
}

function languages() {
  // A language is another page; what is shown goes with it.
  for (const link of document.querySelectorAll('.language')) {
    link.addEventListener('click', () => { link.hash = location.hash; });
  }
}

async function start() {
  languages();
  // What stands after the # is the view, not a place in the page.
  $('skip').addEventListener('click', (event) => {
    event.preventDefault();
    $('map').focus();
  });
  let catalogue;
  const again = $('message').querySelector('button');
  try {
    catalogue = await ask(document.body.dataset.catalogue, {retries: 2});
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    tell(error.message);
    $('summary').textContent = '';
    again.addEventListener('click', () => location.reload());
    return;
  }
  const sets = catalogue.tile_sets.map((set) => set.name);
  const asked = read();
  const complete = (wish) => ({
    ...wish, ...fitting(catalogue, wish), set: sets.includes(wish.set) ? wish.set : sets[0],
  });
  change(complete(asked));
  if (!now.layer || sets.length === 0) {
    startSide(catalogue, null);
    startAddresses(catalogue, null);
    $('stage').classList.add('empty');
    return;
  }
  const view = new MapView(catalogue, tell);
  again.addEventListener('click', () => view.again());
  startSide(catalogue, view);
  startTimeBar(catalogue, view);
  startSwipe();
  view.start();
  startValues(catalogue, view, tell);
  startAddresses(catalogue, view);
  addEventListener('hashchange', () => change(complete(read())));
  document.body.classList.add('ready');
}

start();
