// The words of the page's language, which the server puts into the document.
const words = JSON.parse(document.body.dataset.words);

/** Give a word or sentence, with values in the place of `{name}`. */
export function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export const language = document.documentElement.lang;

/** Write a date of ISO 8601 in the way of the language. */
export function readable(day) {
  const [year, month, date] = day.split('-').map(Number);
  return new Date(Date.UTC(year, month - 1, date)).toLocaleDateString(language === 'pt' ? 'pt-BR' : 'en-GB', {
    year: 'numeric', month: 'short', day: 'numeric', timeZone: 'UTC',
  });
}

/** Write a number with few digits. */
export function number(value) {
  return new Intl.NumberFormat(language === 'pt' ? 'pt-BR' : 'en-GB', {maximumSignificantDigits: 6}).format(value);
}
