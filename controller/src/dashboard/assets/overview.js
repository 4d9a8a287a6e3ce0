// The overview: every rollout in a line, those that need somebody first.

import { LOOKS, badge, h, shortImage, since, spaced, weightBar } from './parts.js';

const SHOWN = 200;
const FILTERS = [
  { name: 'All', holds: () => true },
  { name: 'Failed', holds: (line) => line.look === 'Bad' },
  { name: 'Held', holds: (line) => line.look === 'Held' },
  { name: 'Under way', holds: (line) => line.look === 'Busy' },
];
const COLUMNS = ['Rollout', 'Status', 'Traffic', 'Images', 'Since', 'Why'];

/** What is seen of the overview, kept while a rollout is looked at. */
export class Overview {
  lines = new Map();
  loaded = false;
  everything = true;
  filter = FILTERS[0];
  query = '';
  shown = SHOWN;
  rows = new Map();

  /** Takes an event; true when it was one of the overview. */
  hear(name, data) {
    if (name !== 'all' && name !== 'some') return false;
    if (name === 'all') this.lines.clear();
    for (const line of data.rollouts) this.lines.set(`${line.namespace}/${line.name}`, line);
    for (const [namespace, rollout] of data.gone) this.lines.delete(`${namespace}/${rollout}`);
    this.loaded = true;
    this.everything = data.everything;
    this.draw();
    return true;
  }

  show(main) {
    this.rows.clear();
    this.search = h('input', {
      type: 'search', id: 'search', placeholder: 'Name, namespace or image', value: this.query, autocomplete: 'off', spellcheck: 'false',
      on: { input: () => { this.query = this.search.value; this.shown = SHOWN; this.draw(); } },
    });
    this.chips = FILTERS.map((filter) => {
      const count = h('span', { class: 'count' });
      const input = h('input', {
        type: 'radio', name: 'filter', value: filter.name, checked: filter === this.filter,
        on: { change: () => { this.filter = filter; this.shown = SHOWN; this.draw(); } },
      });
      return { filter, count, element: h('label', { class: 'chip' }, input, h('span', {}, filter.name, count)) };
    });
    this.body = h('tbody', { role: 'rowgroup' });
    const heads = COLUMNS.map((name) => h('th', { scope: 'col', role: 'columnheader' }, name));
    this.table = h('table', { class: 'rollouts', role: 'table', 'aria-label': 'Rollouts' },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads)), this.body);
    this.note = h('div', { class: 'note' });
    main.replaceChildren(
      h('div', { class: 'tools' },
        h('h1', {}, 'Rollouts'),
        h('fieldset', { class: 'chips' }, h('legend', { class: 'unseen' }, 'Show'), this.chips.map((chip) => chip.element)),
        h('label', { class: 'search', for: 'search' }, h('span', { class: 'unseen' }, 'Find a rollout'), this.search)),
      this.table, this.note);
    this.draw();
  }

  draw() {
    if (!this.body?.isConnected) return;
    const all = [...this.lines.values()].sort(byNeed);
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter((line) => {
      const text = `${line.namespace}/${line.name} ${line.target} ${line.stableImages} ${line.canaryImages}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    for (const { filter, count } of this.chips) count.textContent = found.filter(filter.holds).length;
    const held = found.filter(this.filter.holds);
    const shown = held.slice(0, this.shown);
    const wanted = shown.map((line) => this.row(line));
    for (const row of [...this.body.children]) if (!wanted.includes(row)) row.remove();
    wanted.forEach((row, index) => {
      const there = this.body.children[index];
      // A row that moves would lose the focus in it.
      if (there !== row) (this.body.moveBefore && row.isConnected ? this.body.moveBefore(row, there) : this.body.insertBefore(row, there ?? null));
    });
    const names = new Set(all.map((line) => `${line.namespace}/${line.name}`));
    for (const name of this.rows.keys()) if (!names.has(name)) this.rows.delete(name);
    this.table.hidden = shown.length === 0;
    this.note.replaceChildren(...this.remark(all.length, held.length, shown.length));
  }

  /** The row of a line, drawn anew only when the line has changed. */
  row(line) {
    const name = `${line.namespace}/${line.name}`;
    const text = JSON.stringify(line);
    let known = this.rows.get(name);
    if (known?.text === text) return known.row;
    known ??= { row: h('tr', { role: 'row' }) };
    known.text = text;
    this.rows.set(name, known);
    const focused = known.row.contains(document.activeElement);
    known.row.className = line.look.toLowerCase();
    known.row.replaceChildren(...cells(line));
    if (focused) known.row.querySelector('a').focus();
    return known.row;
  }

  remark(all, found, shown) {
    if (!this.loaded) return [h('p', { class: 'soft' }, 'Looking for rollouts…')];
    if (all === 0 && !this.everything) {
      return [h('div', { class: 'empty' }, h('h2', {}, 'No rollout that you may see'),
        h('p', {}, 'You see the Canaries of namespaces in which you may list them. ',
          h('code', {}, 'kubectl auth can-i list canaries.flagger.app -n NAMESPACE'), ' tells whether you may.'))];
    }
    if (all === 0) {
      return [h('div', { class: 'empty' }, h('img', { src: 'icon.svg', alt: '', width: 56, height: 56 }), h('h2', {}, 'No rollouts yet'),
        h('p', {}, 'A Canary says how a workload is rolled out. As soon as there is one in the cluster, it appears here.'),
        h('pre', {}, 'kubectl apply -f canary.yaml\nkubectl get canaries -A'))];
    }
    if (found === 0) return [h('div', { class: 'empty' }, h('h2', {}, 'None of these'), h('p', {}, `${all} ${all === 1 ? 'rollout is' : 'rollouts are'} not shown.`))];
    if (found > shown) {
      const more = () => { this.shown += SHOWN; this.draw(); };
      return [h('p', {}, `${shown} of ${found} are shown. `, h('button', { type: 'button', on: { click: more } }, 'Show more'))];
    }
    return [];
  }
}

function byNeed(left, right) {
  const rank = (line) => (LOOKS[line.look] ?? LOOKS.Unknown).rank;
  const name = (line) => `${line.namespace}/${line.name}`;
  return rank(left) - rank(right) || (name(left) < name(right) ? -1 : 1);
}

function cells(line) {
  const href = `#/${encodeURIComponent(line.namespace)}/${encodeURIComponent(line.name)}`;
  const cell = (name, ...children) => h('td', { role: 'cell', class: name }, children);
  const active = ['Busy', 'Held'].includes(line.look);
  const why = line.waitingFor
    ? [h('span', { class: 'reason' }, spaced(line.waitingFor.reason)), ' ', line.waitingFor.message]
    : [];
  if (line.failedChecks > 0) why.unshift(failures(line), ' ');
  return [
    h('th', { role: 'rowheader', scope: 'row', class: 'name' }, h('a', { href }, h('span', { class: 'title' }, line.name)),
      h('span', { class: 'soft' }, line.namespace)),
    cell('status', badge(line)),
    cell('weight', active || line.weight > 0 ? weightBar(line) : h('span', { class: 'soft' }, 'all on the primary')),
    cell('images', images(line)),
    cell('since', h('span', { class: 'unseen' }, 'for '), since(line.since)),
    cell('why', why),
  ];
}

/** How many checks failed, of how many that end the rollout; nothing when none did. */
export function failures({ failedChecks, threshold }) {
  return failedChecks > 0 && h('span', { class: 'failures' }, `✖ ${failedChecks} of ${threshold} failed checks`);
}

/** From what to what. */
export function images(line) {
  const list = (images) => images.map((image) => h('code', { title: image }, shortImage(image)));
  if (!line.canaryImages.length || `${line.canaryImages}` === `${line.stableImages}`) return h('span', { class: 'images' }, line.stableImages.length ? list(line.stableImages) : h('span', { class: 'soft' }, line.target));
  const arrow = [h('span', { class: 'arrow', 'aria-hidden': 'true' }, '→'), h('span', { class: 'unseen' }, ' to ')];
  return h('span', { class: 'images' }, list(line.stableImages), arrow, list(line.canaryImages));
}
