// The page: where it stands, who looks, and how the stream is.

import { Overview } from './overview.js';
import { clock, h, tick, timeOfDay } from './parts.js';
import { Rollout } from './rollout.js';
import { Refused, ask, follow, token } from './stream.js';

const main = document.getElementById('main');
const overview = new Overview();
let session;
let page;
let stream;
let heardAt;
let standing;

function connection(state, text) {
  const place = document.getElementById('connection');
  place.className = `connection ${state}`;
  const words = document.getElementById('connection-text');
  if (words.textContent !== text) words.textContent = text;
}

function trouble(...children) {
  const banner = document.getElementById('trouble');
  banner.hidden = children.length === 0;
  banner.replaceChildren(...children);
  document.body.classList.toggle('stale', children.length > 0);
}

/** Says which replica answers; nothing when it is the one that leads. */
function stand(now) {
  if (!now || JSON.stringify(now) === JSON.stringify(standing)) return;
  standing = now;
  const banner = document.getElementById('standing');
  banner.hidden = now.leads;
  const leader = now.leader ? h('span', {}, h('strong', {}, now.leader), ' leads') : 'none leads yet';
  banner.replaceChildren('This replica stands by; ', leader, '. What is shown is live, and commands work from here as well.');
  page?.stand?.(now);
}

function listen() {
  stream?.close();
  // Nobody looks at a hidden page, so nothing is asked for it.
  if (document.hidden) return;
  stream = follow(page.path ?? 'stream', (name, data) => {
    heardAt = data.at;
    clock.set(data.at);
    stand(data.standing);
    page.hear(name, data);
  }, (state, detail) => {
    if (state === 'live') {
      connection('live', 'live');
      trouble();
    } else if (state === 'refused') {
      connection('lost', 'refused');
      if (detail.status === 401) signIn(detail.message);
      else trouble(h('strong', {}, 'Refused. '), detail.message);
    } else {
      connection('lost', 'reconnecting');
      if (detail.soon) return;
      const asOf = heardAt ? ` What is shown is from ${timeOfDay(heardAt)}.` : '';
      trouble(h('strong', {}, 'The stream is lost: '), `${detail.why}.${asOf} `,
        h('button', { type: 'button', on: { click: () => stream.now() } }, 'Try now'));
    }
  });
}

/** Shows the page that the address names. */
function open() {
  const [namespace, name] = location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  page?.close?.();
  page = name ? new Rollout(namespace, name, session, standing) : overview;
  document.title = name ? `${name} – Serin` : 'Serin';
  page.show(main);
  listen();
}

/** Asks who is there; whoever is not known is asked for a token. */
async function begin() {
  try {
    session = await (await ask('session')).json();
  } catch (failure) {
    if (failure instanceof Refused && failure.status === 401) return signIn(token.get() ? failure.message : '');
    connection('lost', 'reconnecting');
    trouble(h('strong', {}, 'No answer: '), failure instanceof Refused ? failure.message : 'the controller cannot be reached', '.');
    setTimeout(begin, failure.status === 503 ? 700 : 3000);
    return;
  }
  trouble();
  document.getElementById('cluster').textContent = session.cluster;
  document.getElementById('who').hidden = !session.byToken;
  document.getElementById('user').textContent = session.user;
  open();
}

function signIn(why) {
  stream?.close();
  page?.close?.();
  page = undefined;
  token.forget();
  trouble();
  connection('', 'signed out');
  document.getElementById('who').hidden = true;
  const input = h('input', { type: 'password', id: 'token', required: true, autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'token-help' });
  const submit = (event) => {
    event.preventDefault();
    token.set(input.value.trim());
    begin();
  };
  main.replaceChildren(h('form', { class: 'sign-in', on: { submit } },
    h('img', { src: 'icon.svg', alt: '', width: 48, height: 48 }),
    h('h1', {}, 'Sign in'),
    why && h('p', { class: 'failures', role: 'alert' }, why),
    h('label', { for: 'token' }, 'Bearer token of the cluster'), input,
    h('p', { id: 'token-help', class: 'soft' }, 'Your rights in the cluster decide what you see and do. A token is made by ',
      h('code', {}, 'kubectl create token NAME'), ' and kept in this tab alone.'),
    h('button', { class: 'strong' }, 'Sign in')));
  input.focus();
}

document.getElementById('sign-out').addEventListener('click', () => signIn(''));
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', () => {
  if (!session || !page) return;
  open();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
document.addEventListener('visibilitychange', () => page && listen());
setInterval(tick, 1000);
begin();
