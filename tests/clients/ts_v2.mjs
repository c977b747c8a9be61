// The TypeScript SDK, version 2, as an outside client: `--mode legacy|auto|2026-07-28`, a version pins it.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { main } from './steps.mjs';

await main(['auto', 'legacy', '2026-07-28'], async (o) => {
  const mode = ['auto', 'legacy'].includes(o.mode) ? o.mode : { pin: o.mode };
  const client = new Client({ name: 'interop-ts-v2', version: '1.0.0' }, { versionNegotiation: { mode } });
  const transport = o.stdio ? new StdioClientTransport(o.stdio) : new StreamableHTTPClientTransport(o.url);
  await client.connect(transport);
  return {
    protocol: client.getNegotiatedProtocolVersion(),
    server: client.getServerVersion()?.name,
    // Without a cursor this version walks all pages itself.
    list: async () => (await client.listTools()).tools,
    call: (params, options) => client.callTool(params, options),
    close: async () => {
      // Only a legacy connection has a session to end; without one this does nothing.
      await transport.terminateSession?.();
      await client.close();
    },
  };
});
