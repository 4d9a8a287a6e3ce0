// One rollout: traffic over time, checks with what they are held against, the log, the pods, and the verbs.

import { checkChart, weightChart } from './charts.js';
import { confirm } from './confirm.js';
import { failures, images } from './overview.js';
import { LOOKS, badge, clock, h, progress, say, since, spaced, timeOfDay, toast } from './parts.js';
import { Refused, ask } from './stream.js';

const PODS_EVERY = 3000;
const HINT = 'Point at the chart, or go through it with the arrow keys, to read it.';
const LOG_MARKS = { normal: ['·', 'note'], warning: ['✖', 'warning'], hold: ['‖', 'held'] };
const RESULT_MARKS = { Passed: '✔', Failed: '✖', NoData: '✖', Unavailable: '◇' };

export class Rollout {
  drawn = new Map();
  awaited = new Map();

  constructor(namespace, name, session, standing) {
    Object.assign(this, { namespace, name, session, standing: standing ?? { leads: true } });
  }

  get path() {
    return `stream?namespace=${encodeURIComponent(this.namespace)}&name=${encodeURIComponent(this.name)}`;
  }

  show(main) {
    const panel = (id, title, ...content) => h('section', { class: `panel panel-${id}`, 'aria-labelledby': `${id}-title` }, h('h2', { id: `${id}-title` }, title), content);
    const part = (name, tag = 'div', attributes = {}) => (this[name] = h(tag, { class: name, ...attributes }));
    this.plot = h('div', { class: 'plot', tabindex: '0', role: 'group', 'aria-label': 'Traffic over time. Left and right arrows go from change to change.', on: {
      keydown: (event) => this.step(event), pointermove: (event) => this.hover(event), pointerleave: () => this.readAt(-1), blur: () => this.readAt(-1),
    } });
    this.readout = h('p', { class: 'readout', 'aria-live': 'polite' }, HINT);
    main.replaceChildren(
      h('p', { class: 'back' }, h('a', { href: '#/' }, '← All rollouts')),
      part('head', 'header'),
      part('why'),
      part('verbs', 'div', { role: 'group', 'aria-label': 'Commands', tabindex: '-1' }),
      h('div', { class: 'columns' },
        h('div', { class: 'wide' },
          panel('traffic', 'Traffic', this.plot, this.readout),
          panel('checks', 'Checks', part('checkList')),
          panel('log', 'Decisions', part('log', 'ol', { 'aria-label': 'Decisions, newest first' }))),
        h('div', { class: 'narrow' },
          panel('revision', 'Revision', part('revision')),
          panel('pods', 'Pods', part('pods')))));
    this.drawn.clear();
    this.fill('head', 'loading', () => [h('h1', {}, this.name, ' ', h('small', {}, this.namespace)), h('p', { class: 'soft' }, 'Looking…')]);
    this.resized = new ResizeObserver(() => this.drawCharts());
    this.resized.observe(this.plot);
    this.refreshed = setInterval(() => this.isRolling() && this.drawCharts(), 2000);
    this.askPods();
    this.askEvents();
    this.polled = setInterval(() => {
      this.askPods();
      // Decisions are told by who makes them; of another's there are Events alone.
      if (!this.standing.leads) this.askEvents();
    }, PODS_EVERY);
  }

  /** Another standing: what is recorded here begins elsewhere. */
  stand(standing) {
    this.standing = standing;
    if (this.data) {
      this.drawLog();
      this.drawCharts();
    }
  }

  close() {
    this.resized?.disconnect();
    clearInterval(this.refreshed);
    clearInterval(this.polled);
  }

  hear(name, data) {
    if (name === 'missing') {
      this.data = undefined;
      this.fill('head', 'missing', () => [h('h1', {}, this.name, ' ', h('small', {}, this.namespace)),
        h('p', {}, 'There is no such Canary, or no longer.')]);
      for (const part of ['why', 'verbs', 'checkList', 'log', 'revision', 'pods']) this.fill(part, '', () => []);
      this.plot.replaceChildren();
      return true;
    }
    if (name !== 'rollout') return false;
    const { rollout, mayAct } = data;
    const before = this.data;
    this.data = rollout;
    if (before && (before.phase !== rollout.phase || before.weight !== rollout.weight)) {
      say(`${rollout.name}: ${spaced(rollout.phase)}, ${progress(rollout)}`);
    }
    document.title = `${rollout.weight > 0 ? `${rollout.weight} % ` : ''}${rollout.name} – Serin`;
    this.drawHead(rollout);
    this.drawWhy(rollout);
    this.drawVerbs(rollout, mayAct);
    this.drawRevision(rollout);
    this.drawLog();
    this.drawCharts();
    this.answer(rollout.lastCommand);
    return true;
  }

  /** Draws a part anew only when what it shows has changed, so that focus, selection and scrolling stay. */
  fill(part, facts, children) {
    const text = JSON.stringify(facts);
    if (this.drawn.get(part) === text) return;
    this.drawn.set(part, text);
    this[part].replaceChildren(...children().flat().filter(Boolean));
  }

  isRolling() {
    return this.data && !['Initialized', 'Succeeded', 'Failed', 'Terminated', 'New', 'Initializing'].includes(this.data.phase);
  }

  drawHead(rollout) {
    const { name, namespace, phase, look, paused, suspended, message } = rollout;
    this.fill('head', { phase, look, paused, suspended, message, since: rollout.since, weight: rollout.weight, iteration: rollout.iteration, mirrored: rollout.mirrored, failedChecks: rollout.failedChecks }, () => [
      h('h1', {}, name, ' ', h('small', {}, namespace)),
      h('p', { class: 'state' }, badge(rollout), h('span', { class: 'soft' }, 'for ', since(rollout.since)),
        this.isRolling() && h('span', { class: 'big' }, progress(rollout), h('span', { class: 'soft' }, rollout.iterations ? ' iterations' : ' to the canary')),
        failures(rollout)),
      message && h('p', { class: 'message' }, message),
    ]);
  }

  drawWhy({ waiting, notes }) {
    const calm = waiting.every(({ reason }) => reason === 'Soaking');
    this.fill('why', { waiting, notes }, () => [
      waiting.length > 0 && h('ul', { class: calm ? 'reasons calm' : 'reasons', 'aria-label': 'Why nothing moves' },
        waiting.map(({ reason, message }) => h('li', {}, h('span', { class: 'reason' }, spaced(reason)), ' ', message))),
      notes.map((note) => h('p', { class: 'soft' }, note)),
    ]);
  }

  drawVerbs(rollout, mayAct) {
    const open = rollout.verbs.filter(({ refused }) => !refused).map(({ verb }) => verb);
    const hadFocus = this.verbs.contains(document.activeElement);
    this.fill('verbs', { open, mayAct, suspended: rollout.suspended }, () => {
      if (!open.length) return [h('p', { class: 'soft' }, rollout.suspended ? 'Suspended: no commands are taken.' : 'Nothing to command: no rollout is under way.')];
      const names = { promote: rollout.phase === 'Progressing' ? 'Next step now' : 'Approve', 'promote-full': 'Skip the analysis', pause: 'Pause', resume: 'Resume', abort: 'Abort', retry: 'Retry', undo: 'Undo in Git' };
      const styles = { promote: !rollout.paused && 'strong', resume: 'strong', retry: 'strong', abort: 'danger' };
      const buttons = open.map((verb) => h('button', {
        type: 'button', class: styles[verb], disabled: !mayAct, 'data-verb': verb, on: { click: () => this.give(verb) },
      }, names[verb]));
      const note = !mayAct && h('p', { class: 'soft' }, `${this.session.user} may see, but not act, in namespace ${this.namespace}.`);
      return [buttons, note];
    });
    if (hadFocus && !this.verbs.contains(document.activeElement)) this.verbs.focus();
  }

  async give(verb) {
    const seen = this.data;
    if (!(await confirm(verb, seen, this.session.user))) return;
    try {
      const answer = await ask(`rollouts/${encodeURIComponent(this.namespace)}/${encodeURIComponent(this.name)}/command`, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ verb, revision: seen.revision }),
      });
      const { id } = await answer.json();
      // The answer may have come already.
      if (this.data?.lastCommand?.id !== id) this.awaited.set(id, verb);
      else toast(`${verb}: ${this.data.lastCommand.outcome}`);
      say(`${verb} is asked for`);
    } catch (failure) {
      toast(`${verb}: ${failure instanceof Refused ? failure.message : 'the controller cannot be reached'}`, 'bad');
    }
  }

  answer(command) {
    if (!command || !this.awaited.delete(command.id)) return;
    toast(`${command.command}: ${command.outcome}`, command.outcome.startsWith('refused') ? 'bad' : 'info');
  }

  drawRevision(rollout) {
    const { source, git, primary, canary, lastCommand, stableImages, canaryImages, target, strategy, router, interval, analysisSkipped, weights } = rollout;
    const replicas = (count) => count && `${count.ready} of ${count.desired} ready${count.updated < count.desired ? `, ${count.updated} updated` : ''}`;
    this.fill('revision', { source, git, primary, canary, lastCommand, stableImages, canaryImages, interval, analysisSkipped, weights, strategy }, () => {
      const facts = [
        ['Images', images(rollout)],
        source && ['Commit', commit(source)],
        git && ['In Git', git],
        ['Target', target],
        ['Primary', replicas(primary) ?? 'not made yet'],
        ['Canary', replicas(canary) ?? 'the target does not exist'],
        ['Strategy', `${strategy.replace('-', ' ')}${router ? ` through ${router}` : ''}, a look every ${interval}${analysisSkipped ? ', analysis skipped' : ''}`],
        weights.length && ['Steps', weights.map((weight) => `${weight} %`).join(', ')],
        lastCommand && ['Last command', [`${lastCommand.command} by ${lastCommand.by ?? 'someone'}: ${lastCommand.outcome}, `, since(lastCommand.time), ' ago']],
      ];
      return [h('dl', { class: 'facts' }, facts.filter(Boolean).map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]).flat())];
    });
  }

  /** What was recorded here, and before that what the cluster's Events tell. */
  drawLog() {
    const recorded = this.data.history?.log ?? [];
    const since = this.standing.decidedSince ?? Infinity;
    const recalled = (this.recalled?.log ?? []).filter(({ at }) => at < since);
    this.fill('log', [recorded.length, recorded.at(-1), recorded[0], recalled.length, recalled.at(-1), since], () => {
      if (!recorded.length && !recalled.length) return [h('li', { class: 'soft' }, 'Nothing yet, and the cluster has no Events about it.')];
      const line = ({ at, kind, message, count }) => {
        const [mark, word] = LOG_MARKS[kind];
        return h('li', { class: kind }, h('time', { datetime: new Date(at).toISOString() }, timeOfDay(at)),
          h('span', { class: 'mark', 'aria-hidden': 'true' }, mark), h('span', { class: 'unseen' }, `${word}: `),
          h('span', {}, message, count > 1 && h('span', { class: 'soft' }, ` (${count} times)`)));
      };
      const from = recalled.length > 0 && h('li', { class: 'soft border' }, this.standing.leads
        ? `Recorded since ${timeOfDay(since)}; what is older comes from the cluster's Events, which it keeps for about an hour.`
        : 'Another replica decides; its decisions come from the cluster’s Events, a few seconds late.');
      if (!this.standing.leads) {
        const both = [...recorded, ...recalled].sort((one, other) => one.at - other.at);
        return [from, ...both.reverse().map(line)];
      }
      return [...recorded.toReversed().map(line), from, ...recalled.toReversed().map(line)];
    });
  }

  /** From the first change of the last rollout to its end, or to now. */
  range() {
    const samples = [...this.earlier(), ...(this.data.history?.samples ?? [])];
    const from = samples[0]?.[0];
    if (from === undefined) return undefined;
    const last = samples.at(-1)[0];
    const to = this.isRolling() ? clock.now() : last + Math.max(1000, (last - from) * 0.06);
    const { seenSince } = this.standing;
    const recorded = seenSince > from ? Math.min(seenSince, to) : undefined;
    return { samples, from, to: Math.max(to, from + 1000), recorded };
  }

  /** Weights of this rollout from before it was recorded, as the cluster's Events tell them. */
  earlier() {
    const known = this.data.history?.samples ?? [];
    const weights = this.recalled?.weights ?? [];
    const first = known[0]?.[0] ?? Infinity;
    // This one was seen from its beginning.
    if (known[0]?.[1] === 0 || !weights.length) return [];
    const samples = weights.filter(([at]) => at < first).map(([at, weight]) => [at, weight, 'Progressing', 0, 0, false, false]);
    const { since, weight, phase, failedChecks, mirrored, paused } = this.data;
    const now = Date.parse(since);
    if (!known.length && samples.length && now >= samples.at(-1)[0]) samples.push([now, weight, phase, 0, failedChecks, mirrored, paused]);
    return samples;
  }

  drawCharts() {
    if (!this.data) return;
    const range = this.range();
    if (!range) {
      this.series = undefined;
      this.plot.replaceChildren(h('p', { class: 'soft nothing' }, 'No rollout has been seen since this replica of the controller started.'));
    } else {
      const width = Math.max(260, Math.floor(this.plot.clientWidth));
      this.series = { ...range, drawing: weightChart({ ...range, plan: this.data.weights, width }) };
      this.plot.replaceChildren(this.series.drawing.chart);
      this.series.drawing.point(this.reading ?? -1);
    }
    this.drawChecks(range);
  }

  drawChecks(range) {
    const { checks, history } = this.data;
    const past = new Map((history?.checks ?? []).map((check) => [check.name, check.points]));
    const listed = new Set(checks.map((check) => check.name));
    const all = [...checks, ...[...past.keys()].filter((name) => !listed.has(name)).map((name) => ({ name, unit: '' }))];
    const cards = new Map([...this.checkList.children].map((card) => [card.dataset.name, card]));
    if (!all.length) {
      this.checkList.replaceChildren(h('p', { class: 'soft' }, 'This rollout is not checked by metrics or hooks.'));
      return;
    }
    const wanted = all.map((check) => cards.get(check.name) ?? h('article', { class: 'check', 'data-name': check.name }));
    for (const child of [...this.checkList.children]) if (!wanted.includes(child)) child.remove();
    wanted.forEach((card, index) => this.checkList.children[index] !== card && this.checkList.insertBefore(card, this.checkList.children[index] ?? null));
    // All have their place now, and so their width.
    wanted.forEach((card, index) => {
      const points = past.get(all[index].name) ?? [];
      const facts = JSON.stringify([all[index], points.length, points.at(-1), range && Math.round(range.to / 2000), card.clientWidth]);
      if (card.facts === facts) return;
      card.facts = facts;
      this.drawCheck(card, all[index], points, range);
    });
  }

  drawCheck(card, check, points, range) {
    const { name, unit, min, max, result, value, message } = check;
    const measure = (number) => `${number}${unit ? ` ${unit}` : ''}`;
    const bounds = [min !== undefined && `at least ${measure(min)}`, max !== undefined && `at most ${measure(max)}`].filter(Boolean).join(', ');
    const failed = points.filter((point) => point[2] === 'failed').length;
    const word = result ? spaced(result === 'NoData' ? 'No data' : result) : 'not looked at yet';
    const open = card.querySelector('details')?.open;
    const look = { Passed: 'good', Failed: 'bad', NoData: 'bad', Unavailable: 'held' }[result] ?? 'unknown';
    const rows = () => points.slice(-30).reverse().map(([at, number, outcome]) => h('tr', {}, h('td', {}, timeOfDay(at)), h('td', {}, number === null ? '–' : measure(number)), h('td', {}, outcome)));
    const table = points.length > 0 && h('details', { open }, h('summary', {}, `Values${failed ? `, ${failed} failed` : ''}`),
      h('table', { class: 'values' }, h('thead', {}, h('tr', {}, ['Time', 'Value', 'Result'].map((head) => h('th', { scope: 'col' }, head)))), h('tbody', {}, rows())));
    const head = h('div', { class: 'check-head' }, h('h3', {}, name),
      h('span', { class: `badge ${look}` }, h('span', { class: 'mark', 'aria-hidden': 'true' }, RESULT_MARKS[result] ?? '…'), word));
    const facts = h('p', { class: 'measure' }, h('strong', {}, value === undefined ? '' : measure(value)), bounds && h('span', { class: 'soft' }, `${value === undefined ? '' : ' '}${bounds}`));
    const hadFocus = card.contains(document.activeElement);
    card.replaceChildren(head, facts, message && look !== 'good' ? h('p', { class: 'message' }, message) : '');
    if (range && points.length) {
      const style = getComputedStyle(card);
      const width = card.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      card.append(checkChart({ points, min, max, from: range.from, to: range.to, width: Math.max(160, Math.floor(width)) }), table);
    }
    if (hadFocus) card.querySelector('summary')?.focus();
  }

  hover(event) {
    if (!this.series) return;
    const box = this.plot.getBoundingClientRect();
    this.readAt(this.series.drawing.indexAt(event.clientX - box.left));
  }

  step(event) {
    if (!this.series || !['ArrowLeft', 'ArrowRight', 'Home', 'End'].includes(event.key)) return;
    event.preventDefault();
    const last = this.series.samples.length - 1;
    const now = this.reading ?? last;
    this.readAt({ ArrowLeft: Math.max(0, now - 1), ArrowRight: Math.min(last, now + 1), Home: 0, End: last }[event.key]);
  }

  readAt(index) {
    if (!this.series) return;
    this.reading = index < 0 ? undefined : index;
    this.series.drawing.point(index);
    if (index < 0) {
      this.readout.textContent = HINT;
      return;
    }
    const [at, weight, phase, iterations, failed, mirrored, paused] = this.series.samples[index];
    const parts = [`${weight} %`, spaced(phase), iterations && `iteration ${iterations}`, mirrored && 'mirrored', paused && 'paused', failed && `${failed} failed ${failed === 1 ? 'check' : 'checks'}`];
    this.readout.textContent = `${timeOfDay(at)}: ${parts.filter(Boolean).join(', ')}`;
  }

  async askEvents() {
    if (document.hidden) return;
    try {
      this.recalled = await (await ask(`rollouts/${encodeURIComponent(this.namespace)}/${encodeURIComponent(this.name)}/events`)).json();
    } catch (failure) {
      // The log says what is known without them.
      if (!(failure instanceof Refused)) return;
      this.recalled = undefined;
    }
    if (!this.data) return;
    this.drawLog();
    this.drawCharts();
  }

  async askPods() {
    if (document.hidden) return;
    try {
      const { pods } = await (await ask(`rollouts/${encodeURIComponent(this.namespace)}/${encodeURIComponent(this.name)}/pods`)).json();
      this.fill('pods', pods, () => [podTable(pods)]);
    } catch (failure) {
      if (failure instanceof Refused) this.fill('pods', failure.message, () => [h('p', { class: 'soft' }, failure.status === 404 ? 'None.' : failure.message)]);
    }
  }
}

function commit({ commit: id, revision, message, author, repository, branch, path, pullRequest, appliedBy }) {
  return [
    id ? h('code', { title: id }, id.slice(0, 10)) : h('code', {}, revision), ' ',
    message && h('span', {}, message.split('\n')[0]),
    h('span', { class: 'soft block' }, [author, repository, branch, path, appliedBy].filter(Boolean).join(' · ')),
    pullRequest && h('a', { href: pullRequest, rel: 'noreferrer' }, 'Pull request'),
  ];
}

function podTable(pods) {
  if (!pods.length) return h('p', { class: 'soft' }, 'None.');
  const groups = [['stable', 'Primary'], ['canary', 'Canary'], [undefined, 'Others']];
  return h('div', {}, groups.map(([tag, title]) => {
    const own = pods.filter((pod) => pod.tag === tag);
    return own.length > 0 && [h('h3', {}, `${title} `, h('span', { class: 'soft' }, own.length)), h('ul', { class: 'pod-list' }, own.map((pod) => h('li', {},
      h('span', { class: `badge ${pod.look.toLowerCase()}` }, h('span', { class: 'mark', 'aria-hidden': 'true' }, (LOOKS[pod.look] ?? LOOKS.Unknown).mark), pod.status),
      h('span', { class: 'pod-name', title: pod.node ? `${pod.name} on ${pod.node}` : pod.name }, pod.name),
      h('span', { class: 'soft' }, `${pod.ready} ready${pod.restarts ? `, ${pod.restarts} ${pod.restarts === 1 ? 'restart' : 'restarts'}` : ''}`, pod.created && [', ', since(pod.created)]),
      pod.detail && h('span', { class: 'detail' }, pod.detail))))];
  }));
}

