// The screen of a device during a call.

/**
 * Keeps the screen on until `signal` aborts, in browsers that can. Without it a phone would sleep,
 * and its camera stop.
 */
export function keepScreenOn(signal) {
  let lock = null;
  async function ask() {
    if (document.hidden) return;
    // The browser may refuse, for example when the battery is low.
    lock = await navigator.wakeLock?.request("screen").catch(() => null);
    if (signal.aborted) lock?.release();
  }
  ask();
  // A page that is hidden loses its lock.
  document.addEventListener("visibilitychange", ask, { signal });
  signal.addEventListener("abort", () => lock?.release());
}
