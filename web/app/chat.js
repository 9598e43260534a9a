// The conversation beside the call. Text stays text all the way.

/** How long somebody is shown as typing without further news. */
const TYPING_MS = 6_000;
/** How often others are told that this person is still typing. */
const TYPING_EVERY_MS = 3_000;

/** Dispatches `change`. `messages` is oldest first; `typing` maps peer ids to names; `hasMore`: there are older ones. */
export class Chat extends EventTarget {
  messages = [];
  hasMore = false;
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

  /** Fetches what was said before this page came, and while it was away. Where there is no history the chat starts empty. */
  async load(selfId) {
    this.#selfId = selfId;
    await this.#fetch({});
  }

  /** Fetches the page before the oldest message. */
  loadEarlier() {
    return this.#fetch({ before: this.messages[0]?.id });
  }

  async #fetch(page) {
    const answer = await this.#wire.history(page).catch(() => null);
    if (!answer) return;
    const known = new Set(this.messages.map(({ id }) => id));
    const said = answer.messages;
    // The server's order, not the clocks': what it lists before a message known here is older, the rest was missed. Only
    // when the two have nothing in common do the times tell.
    const common = said.findIndex(({ id }) => known.has(id));
    const missed = !page.before && Date.parse(said.at(-1)?.timestamp) > Date.parse(this.messages.at(-1)?.timestamp);
    const border = common !== -1 ? common : missed ? 0 : said.length;
    const fresh = (part) => part.filter(({ id }) => !known.has(id)).map((message) => this.#own(message));
    this.messages = [...fresh(said.slice(0, border)), ...this.messages, ...fresh(said.slice(border))];
    if (page.before || known.size === 0) this.hasMore = answer.hasMore;
    this.#changed();
  }

  /**
   * Sends a message, to everybody or to one; it is listed once the server has taken it.
   * @param {string} text
   * @param {{peerId: string, name: string} | null} to
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
