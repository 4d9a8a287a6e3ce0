// Charts as SVG. Each takes a span of time in milliseconds and draws into the width that it is given.

const SPACE = 'http://www.w3.org/2000/svg';

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const round = (value) => Math.round(value * 10) / 10;

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400].map((seconds) => seconds * 1000);

/** Times to write below an axis, at full minutes or hours of the viewer's clock. */
function timeTicks(from, to, most) {
  const step = STEPS.find((candidate) => (to - from) / candidate <= most) ?? Math.ceil((to - from) / most / 86400000) * 86400000;
  const offset = new Date(from).getTimezoneOffset() * 60000;
  const ticks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) ticks.push(at);
  const seconds = step % 60000 !== 0;
  const format = new Intl.DateTimeFormat(undefined, step >= 86400000
    ? { month: 'short', day: 'numeric' }
    : { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...(seconds && { second: '2-digit' }) });
  return ticks.map((at) => ({ at, text: format.format(at) }));
}

/** A cross: failed is told by shape, not by colour alone. */
const cross = (x, y, size) => svg('path', {
  class: 'failed', d: `M${round(x - size)} ${round(y - size)}l${size * 2} ${size * 2}m0 ${-size * 2}l${-size * 2} ${size * 2}`,
});

/**
 * The weight over time, as steps. `samples` are `[at, weight, phase, iterations, failed, mirrored, paused]`; `plan` are the
 * weights to come; before `recorded`, if given, lies what is known from elsewhere.
 */
export function weightChart({ samples, plan, from, to, recorded, width }) {
  const height = width < 520 ? 170 : 210;
  const [left, right, top, bottom] = [38, 10, 22, 24];
  const x = (at) => left + ((at - from) / (to - from || 1)) * (width - left - right);
  const y = (weight) => top + (1 - weight / 100) * (height - top - bottom);
  const chart = svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, class: 'chart', 'aria-hidden': 'true' });

  for (const weight of [0, 25, 50, 75, 100]) {
    chart.append(
      svg('line', { class: 'grid', x1: left, x2: width - right, y1: y(weight), y2: y(weight) }),
      svg('text', { class: 'axis', x: left - 6, y: y(weight) + 4, 'text-anchor': 'end' }, `${weight} %`),
    );
  }
  for (const weight of plan) {
    chart.append(svg('line', { class: 'plan', x1: left, x2: width - right, y1: y(weight), y2: y(weight) }));
  }
  for (const { at, text } of timeTicks(from, to, Math.max(2, width / 110))) {
    chart.append(
      svg('line', { class: 'tick', x1: x(at), x2: x(at), y1: height - bottom, y2: height - bottom + 4 }),
      svg('text', { class: 'axis', x: Math.min(Math.max(x(at), left + 16), width - right - 20), y: height - 6, 'text-anchor': 'middle' }, text),
    );
  }

  const end = (index) => x(index + 1 < samples.length ? samples[index + 1][0] : to);
  let line = '';
  let labelled = -Infinity;
  samples.forEach(([at, weight, phase, , failed, mirrored, paused], index) => {
    const before = samples[index - 1];
    line += `${line ? 'L' : 'M'}${round(x(at))} ${round(y(weight))}H${round(end(index))}`;
    if (mirrored || paused) {
      const kind = paused ? 'paused' : 'mirrored';
      chart.append(svg('rect', { class: kind, x: x(at), y: top, width: Math.max(1, end(index) - x(at)), height: height - top - bottom }));
    }
    const word = paused ? 'paused' : phase;
    const wordBefore = before && (before[6] ? 'paused' : before[2]);
    if (word !== wordBefore) {
      chart.append(svg('line', { class: 'phase', x1: x(at), x2: x(at), y1: top - 6, y2: height - bottom }));
      const room = word.length * 6.6;
      const start = Math.min(x(at) + 3, width - right - room);
      if (start > labelled) {
        chart.append(svg('text', { class: 'phase-name', x: start, y: 11 }, word));
        labelled = start + room;
      }
    }
    if (before && failed > before[4]) chart.append(cross(x(at), y(weight) - 9, 4));
  });
  if (samples.length) {
    const bottomLine = round(y(0));
    chart.append(
      svg('path', { class: 'area', d: `${line}V${bottomLine}H${round(x(samples[0][0]))}Z` }),
      svg('path', { class: 'line', d: line }),
    );
  }
  if (recorded !== undefined) {
    const place = x(recorded);
    const words = recorded < to ? 'recorded from here' : "from the cluster's Events";
    const before = place + words.length * 6.4 > width - right;
    chart.prepend(svg('rect', { class: 'recalled', x: left, y: top, width: Math.max(0, place - left), height: height - top - bottom }));
    chart.append(
      svg('line', { class: 'recorded', x1: place, x2: place, y1: top, y2: height - bottom }),
      svg('text', { class: 'axis', x: before ? place - 4 : place + 4, y: height - bottom - 6, 'text-anchor': before ? 'end' : 'start' }, words),
    );
  }
  const cursor = svg('line', { class: 'cursor', y1: top, y2: height - bottom, x1: -9, x2: -9 });
  chart.append(cursor);
  return {
    chart,
    /** The sample in force at this place of the chart. */
    indexAt(place) {
      const at = from + ((place - left) / (width - left - right)) * (to - from);
      return Math.max(0, samples.findLastIndex((sample) => sample[0] <= at));
    },
    point(index) {
      const place = index < 0 ? -9 : x(samples[index][0]);
      cursor.setAttribute('x1', place);
      cursor.setAttribute('x2', place);
    },
  };
}

/** The values of one check over time. `points` are `[at, value or null, result]`; beyond `min` and `max` lies failure. */
export function checkChart({ points, min, max, from, to, width }) {
  const height = 84;
  const [left, right, top, bottom] = [6, 10, 10, 10];
  const chart = svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, class: 'chart', 'aria-hidden': 'true' });
  const values = points.map((point) => point[1]).filter((value) => value !== null);
  const bounds = [min, max].filter((bound) => bound !== undefined);
  let low = Math.min(...values, ...bounds);
  let high = Math.max(...values, ...bounds);
  if (!Number.isFinite(low)) [low, high] = [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.18;
  low -= room;
  high += room;
  const x = (at) => left + ((at - from) / (to - from || 1)) * (width - left - right);
  const y = (value) => top + (1 - (value - low) / (high - low)) * (height - top - bottom);

  const forbidden = (above, below) => chart.append(svg('rect', {
    class: 'forbidden', x: left, width: width - left - right, y: round(above), height: round(Math.max(0, below - above)),
  }));
  if (max !== undefined) forbidden(0, y(max));
  if (min !== undefined) forbidden(y(min), height);
  for (const bound of bounds) {
    chart.append(svg('line', { class: 'bound', x1: left, x2: width - right, y1: y(bound), y2: y(bound) }));
  }
  let line = '';
  let gap = true;
  for (const [at, value] of points) {
    if (value !== null) line += `${gap ? 'M' : 'L'}${round(x(at))} ${round(y(value))}`;
    gap = value === null;
  }
  chart.append(svg('path', { class: 'values', d: line }));
  const crowded = points.length > width / 7;
  for (const [at, value, result] of points) {
    const place = value === null ? height / 2 : y(value);
    if (result === 'failed') chart.append(cross(x(at), place, 3.5));
    else if (result === 'missing') chart.append(svg('path', { class: 'missing', d: `M${round(x(at))} ${place - 4}l4 4l-4 4l-4 -4z` }));
    else if (!crowded || value === null) chart.append(svg('circle', { class: 'passed', cx: round(x(at)), cy: round(place), r: value === null ? 3 : 2 }));
  }
  return chart;
}
