// Bounded waits. When the bound is reached, the error names the condition.
import { setTimeout as pause } from "node:timers/promises";

const BOUND_MS = 30_000;
const POLL_MS = 50;

/**
 * Resolves with the first truthy result of `condition`, polled.
 * @param {string} what name of the condition in the error after `bound` milliseconds
 */
export async function until(what, condition, bound = BOUND_MS) {
  const deadline = Date.now() + bound;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`not within ${bound} ms: ${what}`);
    await pause(POLL_MS);
  }
}

/** Resolves with `promise`. Rejects when it takes longer than `bound` milliseconds. */
export async function within(what, promise, bound = BOUND_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${bound} ms: ${what}`)), bound);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
