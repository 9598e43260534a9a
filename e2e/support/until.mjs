// Waiting for conditions: bounded, and saying what was awaited when the bound is reached.
import { setTimeout as pause } from "node:timers/promises";

const BOUND_MS = 30_000;
const POLL_MS = 50;

/**
 * Resolves with the first truthy result of `condition`, polled.
 * @param {string} what named in the error when it stays falsy for `bound` milliseconds
 */
export async function until(what, condition, bound = BOUND_MS) {
  const deadline = Date.now() + bound;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited ${bound} ms in vain for: ${what}`);
    await pause(POLL_MS);
  }
}

/** Resolves with `promise`, or rejects when it takes longer than the bound. */
export async function within(what, promise, bound = BOUND_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${bound} ms in vain for: ${what}`)), bound);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
