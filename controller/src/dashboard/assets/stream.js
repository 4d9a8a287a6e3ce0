// Speaking to the controller: requests with the token, and the stream of server-sent events.

const HEADER = { 'x-serin-dashboard': '1' };
const TOKEN = 'serin-token';
/** Nothing for so long, not even a heartbeat: the stream is lost. */
const SILENCE = 40000;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Kept for this tab, until it is closed.
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** One request; the answer as it is, or `Refused`. */
export async function ask(path, options = {}) {
  const headers = { ...HEADER, ...options.headers };
  const value = token.get();
  if (value) headers.authorization = `Bearer ${value}`;
  const answer = await fetch(`api/${path}`, { cache: 'no-store', ...options, headers });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, body.error ?? `the controller answered ${answer.status}`);
}

/** Takes the events out of a stream of text, as they arrive. */
export async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      let name = 'message';
      const data = [];
      for (const line of block.split('\n')) {
        if (line.startsWith('event:')) name = line.slice(6).trim();
        else if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
      }
      if (data.length) yield { name, data: JSON.parse(data.join('\n')) };
    }
  }
}

/**
 * Follows a path for as long as it is not closed: after a loss it waits a little longer each time, and begins with everything
 * again. `heard(name, data)` gets the events, `stands(state, detail)` how the connection is: `live`, `lost` (with `again`, the
 * time of the next try, and `why`) or `refused`.
 */
export function follow(path, heard, stands) {
  let closed = false;
  let losses = 0;
  let hurry = () => {};
  let controller;

  async function once() {
    controller = new AbortController();
    let silence;
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(() => controller.abort(), SILENCE);
    };
    try {
      alive();
      const answer = await ask(path, { signal: controller.signal });
      for await (const { name, data } of events(answer.body, alive)) {
        if (closed) return;
        if (name === 'refused') throw new Refused(0, data.error);
        losses = 0;
        stands('live');
        heard(name, data);
      }
    } finally {
      clearTimeout(silence);
    }
  }

  async function run() {
    while (!closed) {
      try {
        await once();
        // It has lived long enough, and the next one carries on.
        if (!closed && losses === 0) { losses = 1; continue; }
        throw new Error('the controller ended the stream');
      } catch (failure) {
        if (closed) return;
        if (failure instanceof Refused && [401, 403, 421].includes(failure.status)) {
          stands('refused', failure);
          return;
        }
        losses += 1;
        // Another replica may lead, and it is found by trying.
        const pause = failure.status === 503 ? 700 : Math.min(15000, 500 * 2 ** losses);
        const why = failure instanceof Refused ? failure.message : 'the controller cannot be reached';
        stands('lost', { again: Date.now() + pause, why, soon: losses < 2 });
        await new Promise((resolve) => {
          hurry = resolve;
          setTimeout(resolve, pause);
        });
      }
    }
  }
  run();
  return {
    close() {
      closed = true;
      controller?.abort();
      hurry();
    },
    now: () => hurry(),
  };
}
