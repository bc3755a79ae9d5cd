// Making elements. Texts are never read as HTML.

export const $ = (id) => document.getElementById(id);

/** Make an element with attributes and children; strings become text. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  return filled(element, attributes, children);
}

/** Make an element of SVG. */
export function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, '');
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Put options into a select: pairs of value and text. */
export function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => make('option', {value, selected: value === chosen}, text)));
}
