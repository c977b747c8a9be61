// Refuses tools that drop things, and leaves all other calls to whoever comes next.
//
// What is imported stands in wit/policy.wit too, and has to be granted, all but the log. There is no system beneath: no
// console, no timers, no Date.now(). The time, for one, is `now` of 'pointsman:policy/clock@@contract'.

/** @type {import('pointsman:policy/route@@contract').Route} */
export const route = {
  route(call, candidates) {
    if (call.name()?.includes('drop')) {
      return { tag: 'deny', val: { code: 'no-drop', message: 'nothing is dropped here; ask an administrator' } };
    }
    return { tag: 'next' };
  },
};
