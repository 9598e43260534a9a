// Chat of the call: messages, history, unread count and typing notices.

/** Time that a participant is shown as typing after their last typing event. */
const TYPING_TIMEOUT_MS = 6_000;
/** Shortest time between two typing events that this page sends. */
const TYPING_INTERVAL_MS = 3_000;

/**
 * Dispatches `change`. `messages` is oldest first. `typing` maps peer ids to names. `hasMore` is
 * true when the server has older messages.
 */
export class Chat extends EventTarget {
  messages = [];
  hasMore = false;
  typing = new Map();
  unread = 0;
  #open = false;
  #selfId = null;
  #wire;
  #timers = new Map();
  #typingSentAt = 0;

  /** @param {{send: Function, typing: Function, history: Function}} wire */
  constructor(wire) {
    super();
    this.#wire = wire;
  }

  /** Sets whether the panel is visible. While it is, messages that arrive count as read. */
  set open(open) {
    this.#open = open;
    if (open) this.unread = 0;
    this.#changed();
  }

  /**
   * Fetches the messages from before this page joined, and those that it missed while it was
   * disconnected. Without history the chat starts empty.
   */
  async load(selfId) {
    this.#selfId = selfId;
    await this.#fetch({});
  }

  /** Fetches the page of messages before the oldest one known here. */
  loadEarlier() {
    return this.#fetch({ before: this.messages[0]?.id });
  }

  async #fetch(page) {
    const answer = await this.#wire.history(page).catch(() => null);
    if (!answer) return;
    const known = new Set(this.messages.map(({ id }) => id));
    const fetched = answer.messages;
    // The server's order decides: messages that it lists before a known one are older, the others
    // were missed. Timestamps decide only when no fetched message is known here.
    const common = fetched.findIndex(({ id }) => known.has(id));
    const missed = !page.before && Date.parse(fetched.at(-1)?.timestamp) > Date.parse(this.messages.at(-1)?.timestamp);
    const border = common !== -1 ? common : missed ? 0 : fetched.length;
    const fresh = (part) => part.filter(({ id }) => !known.has(id)).map((message) => this.#withMine(message));
    this.messages = [...fresh(fetched.slice(0, border)), ...this.messages, ...fresh(fetched.slice(border))];
    if (page.before || known.size === 0) this.hasMore = answer.hasMore;
    this.#changed();
  }

  /**
   * Sends a message and lists it when the server has accepted it.
   * @param {string} text
   * @param {{peerId: string, name: string} | null} to the only receiver, or null for all
   *   participants
   * @throws {import("./refusals.js").Refusal}
   */
  async send(text, to = null) {
    const { id, timestamp } = await this.#wire.send({ message: text, ...(to && { to: to.peerId }) });
    this.stopTyping();
    this.messages.push({ id, timestamp, message: text, from: this.#selfId, mine: true, to: to?.peerId, toName: to?.name });
    this.#changed();
  }

  received(message) {
    if (this.messages.some(({ id }) => id === message.id)) return;
    this.messages.push(this.#withMine(message));
    if (!this.#open) this.unread += 1;
    this.stoppedTyping(message.from);
    this.#changed();
  }

  /** Records that another participant is typing or has stopped. */
  typed(from, user, isTyping) {
    if (!isTyping) return this.stoppedTyping(from);
    clearTimeout(this.#timers.get(from));
    this.#timers.set(
      from,
      setTimeout(() => this.stoppedTyping(from), TYPING_TIMEOUT_MS),
    );
    this.typing.set(from, user?.name ?? "Guest");
    this.#changed();
  }

  stoppedTyping(from) {
    clearTimeout(this.#timers.get(from));
    this.#timers.delete(from);
    if (this.typing.delete(from)) this.#changed();
  }

  /** Announces that this user is typing, at most once per TYPING_INTERVAL_MS. */
  startTyping() {
    if (Date.now() - this.#typingSentAt < TYPING_INTERVAL_MS) return;
    this.#typingSentAt = Date.now();
    this.#wire.typing(true);
  }

  stopTyping() {
    if (this.#typingSentAt === 0) return;
    this.#typingSentAt = 0;
    this.#wire.typing(false);
  }

  #withMine(message) {
    return { ...message, mine: message.from === this.#selfId };
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
