// Typed events.

type Listener<Args extends unknown[]> = (...args: Args) => void;

/** Calls listeners by the name of an event. `Events` has the arguments of each. */
export class Emitter<Events extends { [Name in keyof Events]: unknown[] }> {
  #listeners = new Map<keyof Events, Set<Listener<any[]>>>();

  /**
   * Calls `listener` at each event of this name, until the returned function is called or `signal`
   * aborts.
   */
  on<Name extends keyof Events>(
    event: Name,
    listener: Listener<Events[Name]>,
    { signal }: { signal?: AbortSignal } = {},
  ): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    const off = () => void listeners.delete(listener);
    signal?.addEventListener("abort", off);
    return off;
  }

  /** @internal */
  emit<Name extends keyof Events>(event: Name, ...args: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        // An error in the application's code must not stop the call.
        reportError(error);
      }
    }
  }
}
