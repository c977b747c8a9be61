// The client that the conformance suite judges: a router with the suite's server behind it, driven by the TypeScript
// SDK, version 2. The suite sees what the router sends. It gives the server's URL as the last argument, and the
// environment: MCP_CONFORMANCE_SCENARIO, _PROTOCOL_VERSION, _CONTEXT. POINTSMAN_PROGRAM is the router.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const DEADLINE = 25_000;
const MODERN = '2026-07-28';

const { POINTSMAN_PROGRAM: program, MCP_CONFORMANCE_PROTOCOL_VERSION: version } = process.env;
const scenario = process.env.MCP_CONFORMANCE_SCENARIO ?? '';
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const url = process.argv.at(-1);

/** Where the server says what it is: as it says itself, or where that usually stands. */
async function resourceMetadata() {
  const { headers } = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
  const named = /resource_metadata="([^"]+)"/.exec(headers.get('www-authenticate'))?.[1];
  const usual = ['/.well-known/oauth-protected-resource/mcp', '/.well-known/oauth-protected-resource'];
  for (const place of named ? [named] : usual) {
    const response = await fetch(new URL(place, url));
    if (response.ok) return response.json();
  }
  throw new Error('the server does not say what it is');
}

/** What an operator writes down: which authorization server the server has, and who the router is there. */
async function credentials() {
  const { resource, authorization_servers: servers } = await resourceMetadata();
  const { issuer = servers[0], client_id = 'pointsman', client_secret = 'a secret' } = context;
  const keys = { issuer, resource, 'client-id': client_id, 'client-secret': client_secret };
  if (scenario.endsWith('-post')) keys['client-auth'] = 'post';
  const lines = Object.entries(keys).map(([key, text]) => `${key} = ${JSON.stringify(text)}\n`);
  return `[backends.suite.oauth]\n${lines.join('')}`;
}

const folder = await mkdtemp(join(tmpdir(), 'pointsman-conformance-'));
const config = join(folder, 'pointsman.toml');
await writeFile(
  config,
  `[listen]
address = "127.0.0.1:0"
[router]
admin-socket = ${JSON.stringify(join(folder, 'admin.sock'))}
[backends.suite]
url = ${JSON.stringify(url)}
server-requests = "serialize"
${scenario.startsWith('auth/') ? await credentials() : ''}`,
);
const router = spawn(program, ['run', '--config', config], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
const ended = new Promise((done) => router.once('exit', done));
const late = setTimeout(() => {
  process.stderr.write(`not done after ${DEADLINE} ms\n`);
  router.kill('SIGKILL');
  process.exit(1);
}, DEADLINE);

/** Where the router says that it listens. */
async function endpoint() {
  for await (const line of createInterface({ input: router.stdout })) {
    const found = /http:\/\/127\.0\.0\.1:\d+\/mcp/.exec(line);
    if (found) return new URL(found[0]);
  }
  throw new Error('the router ended before it listened');
}

async function connect(to) {
  const client = new Client(
    { name: 'conformance-through-router', version: '1.0.0' },
    {
      capabilities: { sampling: {}, roots: {}, elicitation: { form: { applyDefaults: true } } },
      versionNegotiation: { mode: version === MODERN ? { pin: MODERN } : 'legacy' },
    },
  );
  client.setRequestHandler('elicitation/create', ({ params }) => {
    // What has a default is left out, to be filled in; the rest gets a value of its type.
    const asked = Object.entries(params.requestedSchema?.properties ?? {});
    const open = asked.filter(([, schema]) => schema.default === undefined);
    return { action: 'accept', content: Object.fromEntries(open.map(([name, schema]) => [name, value(schema)])) };
  });
  await client.connect(new StreamableHTTPClientTransport(to));
  return client;
}

const value = (schema) => ({ number: 5, integer: 5, boolean: true, object: {}, array: [] })[schema.type] ?? 'x';

/** Arguments for all that a schema requires. */
function args(schema) {
  const required = schema.required ?? [];
  return Object.fromEntries(required.map((name) => [name, value(schema.properties?.[name] ?? {})]));
}

/** Lists and uses everything that the server has. */
async function useAll(client) {
  const { tools } = await client.listTools();
  // One tool of the suite wants to be told the schema of another, as it came here.
  const told = { schema: tools.find(({ name }) => name === 'json_schema_2020_12_tool')?.inputSchema };
  const given = ({ name, inputSchema }) => (name === 'json_schema_echo' ? told : args(inputSchema));
  const calls = context.toolCalls ?? tools.map((tool) => ({ name: tool.name, arguments: given(tool) }));
  for (const call of calls) await attempt(call.name, client.callTool(call));
  const can = client.getServerCapabilities() ?? {};
  if (can.resources) {
    const { resources } = await client.listResources();
    for (const { uri } of resources) await attempt(uri, client.readResource({ uri }));
  }
  if (can.prompts) {
    const { prompts } = await client.listPrompts();
    for (const prompt of prompts) {
      const given = Object.fromEntries((prompt.arguments ?? []).map(({ name }) => [name, 'x']));
      await attempt(prompt.name, client.getPrompt({ name: prompt.name, arguments: given }));
    }
  }
}

/** The suite judges what it got; what the client got is only shown. */
async function attempt(what, answer) {
  const told = await answer.then(JSON.stringify, (e) => `failed: ${e.message}`);
  process.stderr.write(`${what}: ${told}\n`);
}

try {
  const client = await connect(await endpoint());
  await useAll(client);
  await client.close();
} catch (e) {
  process.stderr.write(`${e.name}: ${e.message}\n`);
  process.exitCode = 1;
}
router.kill('SIGTERM');
await ended;
clearTimeout(late);
await rm(folder, { recursive: true });
process.exit();
