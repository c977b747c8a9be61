// The TypeScript SDK, version 1, as an outside client: the legacy era only, as most clients in use today.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { main, Mismatch } from './steps.mjs';

await main(['legacy'], async (o) => {
  const client = new Client({ name: 'interop-ts-v1', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(o.url);
  await client.connect(transport);

  async function list() {
    const tools = [];
    let cursor;
    for (let page = 0; page < 1000; page++) {
      const answer = await client.listTools({ cursor });
      tools.push(...answer.tools);
      cursor = answer.nextCursor;
      if (cursor === undefined) return tools;
    }
    throw new Mismatch('the tool list has not ended after 1000 pages');
  }

  return {
    protocol: transport.protocolVersion,
    server: client.getServerVersion()?.name,
    list,
    call: (params) => client.callTool(params),
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  };
});
