// Asking the server, and telling in words why it did not answer.
import {language, say} from './words.js';

export class Failure extends Error {}

/** Fetch something of the server; raises `Failure` with a sentence for people. */
export async function ask(url, {signal, kind = 'json', retries = 0} = {}) {
  let answer;
  try {
    answer = await fetch(url, {signal, headers: {'Accept-Language': language}});
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Failure(say('unreachable'));
  }
  if (answer.ok) return answer[kind]();
  if (answer.status === 503 && retries > 0) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return ask(url, {signal, kind, retries: retries - 1});
  }
  throw new Failure(reason(answer.status, await answer.text()));
}

function reason(status, body) {
  if ([429, 502, 503, 504].includes(status)) return say('overloaded', {status});
  const report = new DOMParser().parseFromString(body, 'application/xml');
  const [told] = ['ServiceException', 'ExceptionText']
    .map((name) => report.getElementsByTagNameNS('*', name)[0]?.textContent.trim())
    .filter(Boolean);
  return told && status < 500 ? say('refused', {reason: told}) : say('failed', {status});
}
