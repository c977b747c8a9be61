// The TypeScript SDK, version 2, through the features of the cross table: `--mode legacy|auto|2026-07-28`.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { FORM, main, MODEL, ROOTS, watching } from './features.mjs';

const MODERN = '2026-07-28';

await main(async (o) => {
  const mode = ['auto', 'legacy'].includes(o.mode) ? o.mode : { pin: o.mode };
  const capabilities = { sampling: {}, elicitation: { form: {} }, roots: {} };
  const client = new Client(
    { name: 'compat-ts-v2', version: '1.0.0' },
    { capabilities, versionNegotiation: { mode } },
  );
  client.setRequestHandler('sampling/createMessage', () => MODEL);
  client.setRequestHandler('elicitation/create', () => FORM);
  client.setRequestHandler('roots/list', () => ROOTS);
  const standing = watching();
  const transport = new StreamableHTTPClientTransport(o.url, { fetch: standing.fetch });
  const modern = () => client.getNegotiatedProtocolVersion() === MODERN;
  const c = {
    tell: () => {},
    call: (params, options) => client.callTool(params, options),
    prompt: (params) => client.getPrompt(params),
    complete: (params) => client.complete(params),
    list: async () => (await client.listTools()).tools,
    subscribe: async (uri) => {
      if (modern()) return client.listen({ resourceSubscriptions: [uri] });
      await standing.opened;
      await client.subscribeResource({ uri });
    },
    watch: async () => (modern() ? client.listen({ toolsListChanged: true }) : standing.opened),
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  };
  for (const method of ['notifications/resources/updated', 'notifications/tools/list_changed']) {
    client.setNotificationHandler(method, ({ params }) => c.tell(method, params));
  }
  await client.connect(transport);
  return c;
});
