// Three hooks with a little work in each, the same in all languages of `make bench`: see examples/languages/main.rs.

/** @type {import('pointsman:policy/route@0.1.1').Route} */
export const route = {
  // The least busy of those that offer the tool, unless it is one that drops things or a robot asks.
  route(call, candidates) {
    const name = call.name() ?? '';
    const agent = call.header('user-agent') ?? '';
    if (name.includes('drop') || agent.includes('robot')) {
      return { tag: 'deny', val: { code: 'no-drop', message: 'nothing is dropped here' } };
    }
    let least = null;
    let load = Infinity;
    for (const at of candidates.offering()) {
      const its = candidates.inFlight(at);
      if (its < load) [least, load] = [at, its];
    }
    return least === null ? { tag: 'next' } : { tag: 'narrow', val: [least] };
  },
};

/** @type {import('pointsman:policy/select@0.1.1').Select} */
export const select = {
  // The target with the fewest calls.
  select(call, targets) {
    const loads = call.name() === null ? [] : [...targets.loads()];
    if (loads.length === 0) return { tag: 'any' };
    return { tag: 'pick', val: loads.indexOf(Math.min(...loads)) };
  },
};

/** @type {import('pointsman:policy/transform-request@0.1.1').TransformRequest} */
export const transformRequest = {
  // A limit of ten, where there is none or a higher one.
  transform(call) {
    const name = call.name() ?? '';
    const limit = call.param('/arguments/limit');
    if (name === '' || (limit !== null && Number(limit) <= 10)) return [];
    return [{ tag: 'set', val: { pointer: '/arguments/limit', json: '10' } }];
  },
};
