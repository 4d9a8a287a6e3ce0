// Small pieces of the page: elements, words and times.

/** An element; text goes in as text, never as markup. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === 'on') for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Each look has a shape, so that colour is not needed to tell it. */
export const LOOKS = {
  Bad: { mark: '✖', rank: 0 },
  Held: { mark: '‖', rank: 1 },
  Busy: { mark: '◐', rank: 2 },
  Unknown: { mark: '?', rank: 3 },
  Good: { mark: '✔', rank: 4 },
  Idle: { mark: '○', rank: 5 },
};

/** Phase and look as a badge. */
export function badge(line) {
  const word = line.suspended ? `${line.phase}, suspended` : line.paused ? `${line.phase}, paused` : line.phase;
  const { mark } = LOOKS[line.look] ?? LOOKS.Unknown;
  return h('span', { class: `badge ${line.look.toLowerCase()}` }, h('span', { class: 'mark', 'aria-hidden': 'true' }, mark), spaced(word));
}

/** `WaitingPromotion` as people write it. */
export function spaced(word) {
  return word.replace(/([a-z])([A-Z])/g, (_, before, after) => `${before} ${after.toLowerCase()}`);
}

let skew = 0;

/** The clock of the controller, which all times come from. */
export const clock = {
  set: (at) => { skew = at - Date.now(); },
  now: () => Date.now() + skew,
};

export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min${seconds < 600 && seconds % 60 ? ` ${seconds % 60} s` : ''}`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

const hour = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });

/** The time of day, with the day when that is not today. */
export function timeOfDay(at) {
  const today = new Date(clock.now()).toDateString() === new Date(at).toDateString();
  return today ? hour.format(at) : `${day.format(at)}, ${hour.format(at)}`;
}

/** How long ago something was; `tick` keeps it true. */
export function since(at) {
  if (at === undefined) return h('span', { class: 'soft' }, '–');
  const time = Date.parse(at) || at;
  const attributes = { datetime: new Date(time).toISOString(), title: full.format(time), 'data-since': time };
  return h('time', attributes, span(clock.now() - time));
}

export function tick() {
  for (const element of document.querySelectorAll('[data-since]')) {
    const text = span(clock.now() - Number(element.dataset.since));
    if (element.textContent !== text) element.textContent = text;
  }
}

/** The part of an image that tells one revision from the next. */
export function shortImage(image) {
  const name = image.slice(image.lastIndexOf('/') + 1);
  const digest = name.indexOf('@sha256:');
  return digest < 0 ? name : name.slice(0, digest + 8 + 12);
}

/** How the traffic is shared: a bar with the steps of the plan. */
export function weightBar(line) {
  const text = progress(line);
  const bar = h('span', { class: 'bar', role: 'img', 'aria-label': `Traffic: ${text}` });
  const fill = h('span', { class: line.mirrored ? 'fill mirrored' : 'fill' });
  // Set here, because the page allows no style in its markup.
  fill.style.width = `${line.mirrored ? 100 : line.weight}%`;
  bar.append(fill);
  for (const weight of line.weights) {
    const step = h('span', { class: 'step' });
    step.style.left = `${weight}%`;
    if (weight < 100) bar.append(step);
  }
  return h('span', { class: 'traffic' }, bar, h('span', { class: 'number', 'aria-hidden': 'true' }, text));
}

export function progress(line) {
  if (line.mirrored) return 'mirrored';
  if (line.iterations > 0) {
    const iteration = `${Math.min(line.iteration, line.iterations)} of ${line.iterations}`;
    return line.weight === 100 && line.strategy === 'blue-green' ? `100 %, ${iteration}` : iteration;
  }
  return `${line.weight} %`;
}

/** Says something to those who do not see the page. */
export function say(text) {
  const said = document.getElementById('said');
  if (said.textContent !== text) said.textContent = text;
}

export function toast(text, kind = 'info') {
  const element = h('p', { class: `toast ${kind}` }, text, h('button', {
    type: 'button', class: 'quiet', 'aria-label': 'Dismiss', on: { click: () => element.remove() },
  }, '×'));
  document.getElementById('toasts').append(element);
  setTimeout(() => element.remove(), kind === 'bad' ? 20000 : 8000);
}
