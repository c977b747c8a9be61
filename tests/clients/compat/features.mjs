// What the Node clients of the cross table share: the features one by one, each on its own deadline, and one JSON
// line about each: {"feature", "ok", "code", "detail"}.
import { parseArgs } from 'node:util';

/** What every client answers when it is asked back. */
export const MODEL = {
  role: 'assistant',
  model: 'siding',
  stopReason: 'endTurn',
  content: { type: 'text', text: 'all aboard' },
};
export const FORM = { action: 'accept', content: { word: 'semaphore' } };
export const ROOTS = { roots: [{ uri: 'file:///siding', name: 'siding' }] };

const COUNTER = 'test://counter';
/** The tool that is added: one client to a server. */
const ADDED = 'added';

/** The answer came and is not what it must be. */
class Mismatch extends Error {}

function expect(got, wanted) {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    throw new Mismatch(`${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`);
  }
}

/** The text of a tool's result that is no error. */
function said(result) {
  const text = (result.content ?? []).map((block) => block.text ?? '').join('\n');
  if (result.isError) throw Object.assign(new Error(text), { code: 'isError' });
  return text;
}

/**
 * `c` is one connected client: call, prompt, complete, list, tell (a function that gets each notification's method and
 * params), subscribe(uri) and watch() (resolve when what they ask for can arrive).
 */
const FEATURES = {
  async progress(c) {
    const heard = [];
    const args = { name: 'progress', arguments: { count: 3, delay_ms: 10 } };
    expect(said(await c.call(args, { onprogress: (p) => heard.push(p.message) })), 'sent 3');
    const steps = heard.filter((message) => message?.startsWith('step '));
    expect(steps, ['step 1', 'step 2', 'step 3']);
  },
  async sampling(c) {
    const result = await c.call({ name: 'ask_sampling', arguments: { prompt: 'What does the guard say?' } });
    expect(said(result), `model said: ${MODEL.content.text}`);
  },
  async elicitation(c) {
    const result = await c.call({ name: 'ask_form', arguments: { message: 'Which signal?' } });
    expect(said(result), `user: accept ${FORM.content.word}`);
  },
  async roots(c) {
    expect(said(await c.call({ name: 'ask_roots', arguments: {} })), ROOTS.roots[0].uri);
  },
  async subscribe(c) {
    const updated = heard(c, 'notifications/resources/updated', (params) => params.uri === COUNTER);
    await c.subscribe(COUNTER);
    said(await c.call({ name: 'touch_resource', arguments: {} }));
    await updated;
  },
  async prompt(c) {
    const { messages } = await c.prompt({ name: 'greeting', arguments: { language: 'finnish' } });
    expect(messages[0].content.text, 'Please greet me in finnish.');
  },
  async completion(c) {
    const ref = { type: 'ref/prompt', name: 'greeting' };
    const language = await c.complete({ ref, argument: { name: 'language', value: 'f' } });
    expect(language.completion.values, ['finnish', 'french']);
    const city = await c.complete({
      ref: { type: 'ref/resource', uri: 'test://city/{country}/{city}' },
      argument: { name: 'city', value: 'b' },
      context: { arguments: { country: 'germany' } },
    });
    expect(city.completion.values, ['berlin', 'bonn', 'bremen']);
  },
  async 'list change'(c) {
    const changed = heard(c, 'notifications/tools/list_changed', () => true);
    await c.watch();
    said(await c.call({ name: 'add_tool', arguments: { name: ADDED } }));
    await changed;
    const names = (await c.list()).map((tool) => tool.name);
    if (!names.includes(ADDED)) throw new Mismatch(`${ADDED} is not in the list after the change`);
  },
  async cancel(c) {
    const count = async () => JSON.parse(said(await c.call({ name: 'cancelled_count', arguments: {} }))).cancelled;
    const before = await count();
    const abort = new AbortController();
    const call = c.call(
      { name: 'slow', arguments: { ms: 60_000 } },
      // Its first word: it runs.
      { signal: abort.signal, onprogress: (p) => p.message === 'running' && abort.abort() },
    );
    const result = await call.then(said, () => undefined);
    if (result !== undefined) throw new Mismatch(`the cancelled call was answered: ${result}`);
    while ((await count()) === before);
  },
};

/** Resolves at the first notification of this kind from now on. */
function heard(c, method, is) {
  return new Promise((done) => {
    c.tell = (name, params) => name === method && is(params) && done();
  });
}

async function within(seconds, work) {
  let timer;
  const late = new Promise((_, failed) => {
    const error = Object.assign(new Error(`not done after ${seconds} s`), { code: 'late' });
    timer = setTimeout(() => failed(error), seconds * 1000);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** What went wrong: the protocol's code if there is one, and words. */
function told(e) {
  if (e instanceof Mismatch) return { code: 'wrong', detail: e.message };
  const words = e.message.replace(/^MCP error -?\d+: /, '');
  return { code: e.code === undefined ? e.name : String(e.code), detail: words };
}

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Connects in `--mode` by `connect(o)` and runs all features on that one connection. */
export async function main(connect) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      mode: { type: 'string' },
      /** Seconds for each feature. */
      deadline: { type: 'string', default: '10' },
    },
  });
  const o = { url: new URL(positionals[0]), mode: values.mode };
  const seconds = Number(values.deadline);
  let c;
  try {
    c = await within(seconds, connect(o));
  } catch (e) {
    for (const feature of Object.keys(FEATURES)) print({ feature, ok: false, ...told(e) });
    process.exit();
  }
  for (const [feature, run] of Object.entries(FEATURES)) {
    try {
      await within(seconds, run(c));
      print({ feature, ok: true });
    } catch (e) {
      print({ feature, ok: false, ...told(e) });
    }
  }
  await within(seconds, c.close()).catch(() => {});
  // An open event stream would keep the process alive.
  process.exit();
}

/** `fetch` that resolves `opened` when the standing GET stream of a legacy session is there. */
export function watching() {
  let open;
  const opened = new Promise((done) => {
    open = done;
  });
  const through = async (url, init) => {
    const response = await fetch(url, init);
    if (init?.method === 'GET' && response.ok) open();
    return response;
  };
  return { opened, fetch: through };
}
