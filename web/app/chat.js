// The conversation beside the call. Text stays text all the way.

/** How long somebody is shown as typing without further news. */
const TYPING_MS = 6_000;
/** How often others are told that this person is still typing. */
const TYPING_EVERY_MS = 3_000;

/** Dispatches `change`. `messages` is oldest first; `typing` maps peer ids to names. */
export class Chat extends EventTarget {
  messages = [];
  typing = new Map();
  unread = 0;
  #open = false;
  #selfId = null;
  #wire;
  #timers = new Map();
  #toldTypingAt = 0;

  /** @param {{send: Function, typing: Function, history: Function}} wire */
  constructor(wire) {
    super();
    this.#wire = wire;
  }

  /** Whether the panel is in view: messages that arrive meanwhile are read. */
  set open(open) {
    this.#open = open;
    if (open) this.unread = 0;
    this.#changed();
  }

  /** Fetches what was said before this page came. A server without history refuses, and the chat starts empty. */
  async load(selfId) {
    this.#selfId = selfId;
    const answer = await this.#wire.history().catch(() => null);
    const known = new Set(this.messages.map(({ id }) => id));
    const earlier = (answer?.messages ?? []).filter(({ id }) => !known.has(id));
    if (earlier.length === 0) return;
    this.messages = [...earlier.map((message) => this.#own(message)), ...this.messages].sort(
      (a, b) => new Date(a.timestamp) - new Date(b.timestamp),
    );
    this.#changed();
  }

  /** Sends a message; it is listed once the server has taken it. @throws {import("./refusals.js").Refusal} */
  async send(text) {
    const { id, timestamp } = await this.#wire.send({ message: text });
    this.stopTyping();
    this.messages.push({ id, timestamp: timestamp ?? new Date().toISOString(), message: text, mine: true });
    this.#changed();
  }

  received(message) {
    if (this.messages.some(({ id }) => id === message.id)) return;
    this.messages.push(this.#own(message));
    if (!this.#open) this.unread += 1;
    this.stoppedTyping(message.from);
    this.#changed();
  }

  /** Somebody else types, or stopped. */
  typed(from, user, isTyping) {
    if (!isTyping) return this.stoppedTyping(from);
    clearTimeout(this.#timers.get(from));
    this.#timers.set(
      from,
      setTimeout(() => this.stoppedTyping(from), TYPING_MS),
    );
    this.typing.set(from, user?.name ?? "Somebody");
    this.#changed();
  }

  stoppedTyping(from) {
    clearTimeout(this.#timers.get(from));
    this.#timers.delete(from);
    if (this.typing.delete(from)) this.#changed();
  }

  /** This person types: others are told, but not at every key. */
  startTyping() {
    if (Date.now() - this.#toldTypingAt < TYPING_EVERY_MS) return;
    this.#toldTypingAt = Date.now();
    this.#wire.typing(true);
  }

  stopTyping() {
    if (this.#toldTypingAt === 0) return;
    this.#toldTypingAt = 0;
    this.#wire.typing(false);
  }

  #own(message) {
    return { ...message, mine: message.from === this.#selfId };
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
