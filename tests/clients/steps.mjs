// What the Node clients share: the command line, one JSON line per step, one FAIL line at most.
import { parseArgs } from 'node:util';

const USAGE = `URL|stdio:[COMMAND...] [--expect-tools A,B] [--expect-protocol VERSION] [--expect-progress N] [--deadline SECONDS]
       (--call NAME --args JSON --expect TEXT)...`;

/** The server answered, but not what the command line expects. */
export class Mismatch extends Error {}

/** A URL, or a command that speaks MCP over stdio. */
function target(text) {
  if (!text.startsWith('stdio:')) return { url: new URL(text) };
  const [command, ...args] = JSON.parse(text.slice('stdio:'.length));
  return { stdio: { command, args } };
}

function parse(modes) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      mode: { type: 'string', default: modes[0] },
      'expect-tools': { type: 'string', default: '' },
      'expect-protocol': { type: 'string' },
      'expect-progress': { type: 'string', default: '0' },
      deadline: { type: 'string', default: '60' },
      call: { type: 'string', multiple: true, default: [] },
      args: { type: 'string', multiple: true, default: [] },
      expect: { type: 'string', multiple: true, default: [] },
    },
  });
  const { call, args, expect } = values;
  if (positionals.length !== 1) throw new Error('exactly one URL is needed');
  if (!modes.includes(values.mode)) throw new Error(`--mode is one of ${modes.join(', ')}`);
  if (call.length !== args.length || call.length !== expect.length) {
    throw new Error('every --call needs one --args and one --expect');
  }
  return {
    ...target(positionals[0]),
    mode: values.mode,
    deadline: Number(values.deadline),
    protocol: values['expect-protocol'],
    progress: Number(values['expect-progress']),
    tools: values['expect-tools'].split(',').filter(Boolean),
    calls: call.map((name, i) => ({ name, arguments: JSON.parse(args[i]), wanted: expect[i] })),
  };
}

export function say(step, fields = {}) {
  process.stdout.write(JSON.stringify({ step, ...fields }) + '\n');
}

function checkTools(names, wanted) {
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  if (twice.length) throw new Mismatch(`tools listed more than once: ${twice.join(', ')}`);
  const missing = wanted.filter((name) => !names.includes(name));
  if (missing.length) {
    throw new Mismatch(`tools missing from the list: ${missing.join(', ')}; listed: ${names.join(', ')}`);
  }
}

function checkResult(name, result, wanted) {
  const shown = JSON.stringify(result);
  if (result.isError) throw new Mismatch(`${name} answered with isError: ${shown}`);
  const texts = (result.content ?? []).map((block) => block.text ?? '').join('\n');
  if (!texts.includes(wanted) && !shown.includes(wanted)) {
    throw new Mismatch(`the result of ${name} does not contain ${JSON.stringify(wanted)}: ${shown}`);
  }
}

/** Runs `connect(o)`, which gives { protocol, server, list, call, close }, through the steps asked for. */
export async function main(modes, connect) {
  let o;
  try {
    o = parse(modes);
  } catch (e) {
    process.stderr.write(`${e.message}\nusage: ${USAGE}\n`);
    process.exit(2);
  }
  const late = setTimeout(() => {
    process.stderr.write(`FAIL: not done after ${o.deadline} s\n`);
    process.exit(1);
  }, o.deadline * 1000);
  try {
    const client = await connect(o);
    say('connect', { mode: o.mode, protocol: client.protocol, server: client.server });
    if (o.protocol && client.protocol !== o.protocol) {
      throw new Mismatch(`negotiated protocol ${client.protocol}, expected ${o.protocol}`);
    }
    const names = (await client.list()).map((tool) => tool.name);
    say('list', { tools: names });
    checkTools(names, o.tools);
    let progress = 0;
    for (const { name, arguments: args, wanted } of o.calls) {
      const result = await client.call({ name, arguments: args }, { onprogress: () => (progress += 1) });
      checkResult(name, result, wanted);
      say('call', { name, result });
    }
    if (progress < o.progress) throw new Mismatch(`${progress} progress notifications came, expected ${o.progress}`);
    await client.close();
    say('done');
  } catch (e) {
    const cause = e.cause ? ` (${e.cause.message ?? e.cause})` : '';
    process.stderr.write(`FAIL: ${e instanceof Mismatch ? '' : `${e.name}: `}${e.message}${cause}\n`);
    process.exitCode = 1;
  }
  clearTimeout(late);
  // An open event stream would keep the process alive after a failure.
  process.exit();
}
