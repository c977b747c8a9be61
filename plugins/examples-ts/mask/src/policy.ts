// Hides keys and addresses in the results of tools, whatever server they come from.
//
//   [plugins.mask]
//   file = "mask.wasm"
//   config = { hide = ["aws-key", "email"] }     # without it everything that it knows
//
//   [pipeline]
//   transform-response = ["mask"]

import type { Lifecycle } from 'pointsman:policy/lifecycle@0.1.1';
import type { TransformResponse } from 'pointsman:policy/transform-response@0.1.1';
import type { Edit } from 'pointsman:policy/types@0.1.1';

import { kinds } from './kinds.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

let hidden = Object.keys(kinds);

export const lifecycle: Lifecycle = {
  // What is thrown here refuses the plugin, and its words are what the operator reads.
  init(config) {
    const { hide = hidden }: { hide?: string[] } = JSON.parse(config);
    for (const kind of hide) {
      if (!(kind in kinds)) throw new Error(`\`hide\`: ${kind} is none of ${hidden.join(', ')}`);
    }
    hidden = hide;
  },
  shutdown() {},
};

export const transformResponse: TransformResponse = {
  transform(call, response) {
    const edits: Edit[] = [];
    // Only what changes goes back to the router; all else keeps its bytes.
    const walk = (value: Json, pointer: string): void => {
      if (typeof value === 'string') {
        const masked = hidden.reduce((text, kind) => text.replace(kinds[kind]!, `[${kind}]`), value);
        if (masked !== value) edits.push({ tag: 'set', val: { pointer, json: JSON.stringify(masked) } });
      } else if (value !== null && typeof value === 'object') {
        for (const [key, part] of Object.entries(value)) walk(part, `${pointer}/${escaped(key)}`);
      }
    };
    walk(JSON.parse(response.json()), '');
    return edits;
  },
};

// A key as a JSON pointer has it.
function escaped(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
