// The TypeScript SDK, version 1, through the features of the cross table.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { FORM, main, MODEL, ROOTS, watching } from './features.mjs';

await main(async (o) => {
  const capabilities = { sampling: {}, elicitation: {}, roots: {} };
  const client = new Client({ name: 'compat-ts-v1', version: '1.0.0' }, { capabilities });
  client.setRequestHandler(CreateMessageRequestSchema, () => MODEL);
  client.setRequestHandler(ElicitRequestSchema, () => FORM);
  client.setRequestHandler(ListRootsRequestSchema, () => ROOTS);
  const standing = watching();
  const transport = new StreamableHTTPClientTransport(o.url, { fetch: standing.fetch });
  const c = {
    tell: () => {},
    call: (params, options) => client.callTool(params, undefined, options),
    prompt: (params) => client.getPrompt(params),
    complete: (params) => client.complete(params),
    list: async () => (await client.listTools()).tools,
    subscribe: async (uri) => {
      await standing.opened;
      await client.subscribeResource({ uri });
    },
    watch: () => standing.opened,
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  };
  for (const schema of [ResourceUpdatedNotificationSchema, ToolListChangedNotificationSchema]) {
    client.setNotificationHandler(schema, ({ method, params }) => c.tell(method, params));
  }
  await client.connect(transport);
  return c;
});
