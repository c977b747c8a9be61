// The TypeScript SDK, version 1, as an outside client: the legacy era only, as most clients in use today.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { main, Mismatch } from './steps.mjs';

await main(['legacy'], async (o) => {
  const client = new Client({ name: 'interop-ts-v1', version: '1.0.0' });
  const transport = o.stdio ? new StdioClientTransport(o.stdio) : new StreamableHTTPClientTransport(o.url);
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
    // Over stdio the transport does not know it; of this SDK there is one era only.
    protocol: transport.protocolVersion ?? '2025-11-25',
    server: client.getServerVersion()?.name,
    list,
    call: (params, options) => client.callTool(params, undefined, options),
    close: async () => {
      await transport.terminateSession?.();
      await client.close();
    },
  };
});
