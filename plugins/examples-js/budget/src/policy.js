// Gives each agent so many calls of costly tools in a stretch of time.
//
//   [plugins.budget]
//   file = "budget.wasm"
//   config = { tools = ["search", "render_*"], limit = 20, minutes = 60 }
//   grants = { clock = true, kv = true }
//
// The count is in `kv`: all instances share it, and a new build of the policy goes on with it. Variables of a module are
// no memory, for the router keeps several instances and drops them as it likes.

import { now } from 'pointsman:policy/clock@0.1.1';
import { increment } from 'pointsman:policy/kv@0.1.1';
import { log } from 'pointsman:policy/log@0.1.1';

/** @type {RegExp[]} */
let costly = [];
let limit = 20;
let stretch = 0;

/** @type {import('pointsman:policy/lifecycle@0.1.1').Lifecycle} */
export const lifecycle = {
  // What is thrown here refuses the plugin, and its words are what the operator reads.
  init(config) {
    const { tools, limit: most = 20, minutes = 60 } = JSON.parse(config);
    if (!Array.isArray(tools) || tools.length === 0) throw new Error('`tools` names the costly ones, as ["search", "render_*"]');
    if (!Number.isInteger(most) || most < 1) throw new Error('`limit` is a whole number, 1 or more');
    if (typeof minutes !== 'number' || minutes <= 0) throw new Error('`minutes` is a number above 0');
    costly = tools.map((glob) => new RegExp(`^${String(glob).split('*').map(quoted).join('.*')}$`));
    limit = most;
    stretch = Math.ceil(minutes * 60_000);
  },
  shutdown() {},
};

/** @type {import('pointsman:policy/route@0.1.1').Route} */
export const route = {
  route(call) {
    const name = call.name();
    if (call.method() !== 'tools/call' || name === null || !costly.some((tool) => tool.test(name))) {
      return { tag: 'next' };
    }
    const time = now();
    const turn = Math.floor(time / stretch);
    const left = (turn + 1) * stretch - time;
    // A call that waits is asked about again when policies change. It counts once.
    if (increment(`call ${call.id()}`, 1, 600_000) > 1) return { tag: 'next' };
    // Whoever has no principal and no session is another agent with every connection: for such a budget have them log in.
    const agent = call.principal() ?? call.agent();
    const used = increment(`${agent} ${turn}`, 1, left);
    if (used <= limit) return { tag: 'next' };
    log('info', `${agent} has used up its ${limit} costly calls`);
    const message = `${name} is costly, and your ${limit} calls are used up; there are new ones in ${Math.ceil(left / 1000)} s`;
    return { tag: 'deny', val: { code: 'budget', message } };
  },
};

/** @param {string} text */
function quoted(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
