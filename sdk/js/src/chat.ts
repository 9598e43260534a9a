// Chat of the call: messages, history, unread count and typing notices.
import { Emitter } from "./emitter.js";
import type { Answer } from "./signaling.js";
import type { ChatMessage, User } from "./types.js";

/** Time that a participant is shown as typing after their last typing event. */
const TYPING_TIMEOUT_MS = 6_000;
/** Shortest time between two typing events that this page sends. */
const TYPING_INTERVAL_MS = 3_000;

/** @internal */
export interface ChatWire {
  send(payload: object): Promise<Answer>;
  typing(isTyping: boolean): void;
  history(page: { before?: string }): Promise<Answer>;
}

type WireMessage = Omit<ChatMessage, "mine">;

/** Emits `message` for each message that arrives, and `change` when any field changes. */
export class Chat extends Emitter<{ message: [ChatMessage]; change: [] }> {
  /** Oldest first. */
  messages: ChatMessage[] = [];
  /** Whether the server has older messages. */
  hasMore = false;
  /** Names of the participants who type, by peer id; empty for one without a name. */
  readonly typing = new Map<string, string>();
  /** Number of messages that arrived while the chat was not open. */
  unread = 0;
  #open = false;
  #selfId: string | null = null;
  #wire: ChatWire;
  #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #typingSentAt = 0;

  /** @internal */
  constructor(wire: ChatWire) {
    super();
    this.#wire = wire;
  }

  /** Whether the user sees the chat. While it is open, messages that arrive count as read. */
  set open(open: boolean) {
    this.#open = open;
    if (open) this.unread = 0;
    this.emit("change");
  }

  /**
   * Fetches the messages from before this page joined, and those that it missed while it was
   * disconnected. Without history the chat starts empty.
   * @internal
   */
  async load(selfId: string): Promise<void> {
    this.#selfId = selfId;
    await this.#fetch({});
  }

  /** Fetches the page of messages before the oldest one known here. */
  loadEarlier(): Promise<void> {
    return this.#fetch({ before: this.messages[0]?.id });
  }

  async #fetch(page: { before?: string }): Promise<void> {
    const answer = await this.#wire.history(page).catch(() => null);
    if (!answer) return;
    const known = new Set(this.messages.map(({ id }) => id));
    const fetched: WireMessage[] = answer.messages;
    // The server's order decides: messages that it lists before a known one are older, the others
    // were missed. Timestamps decide only when no fetched message is known here.
    const common = fetched.findIndex(({ id }) => known.has(id));
    const time = (message?: WireMessage) => Date.parse(message?.timestamp ?? "");
    const missed = !page.before && time(fetched.at(-1)) > time(this.messages.at(-1));
    const border = common !== -1 ? common : missed ? 0 : fetched.length;
    const fresh = (part: WireMessage[]) => part.filter(({ id }) => !known.has(id)).map((each) => this.#withMine(each));
    this.messages = [...fresh(fetched.slice(0, border)), ...this.messages, ...fresh(fetched.slice(border))];
    if (page.before || known.size === 0) this.hasMore = answer.hasMore;
    this.emit("change");
  }

  /**
   * Sends a message and lists it when the server has accepted it.
   * @param to the only receiver, or null for all participants
   * @throws {SwitchboardError}
   */
  async send(text: string, to: { peerId: string; name: string } | null = null): Promise<void> {
    const { id, timestamp } = await this.#wire.send({ message: text, ...(to && { to: to.peerId }) });
    this.stopTyping();
    const message = { id, timestamp, message: text, from: this.#selfId!, mine: true, to: to?.peerId, toName: to?.name };
    this.messages.push(message);
    this.emit("change");
  }

  /** @internal */
  received(wire: WireMessage): void {
    if (this.messages.some(({ id }) => id === wire.id)) return;
    const message = this.#withMine(wire);
    this.messages.push(message);
    if (!this.#open) this.unread += 1;
    this.stoppedTyping(message.from);
    this.emit("message", message);
    this.emit("change");
  }

  /** Records that another participant is typing or has stopped. @internal */
  typed(from: string, user: User | undefined, isTyping: boolean): void {
    if (!isTyping) return this.stoppedTyping(from);
    clearTimeout(this.#timers.get(from));
    this.#timers.set(from, setTimeout(() => this.stoppedTyping(from), TYPING_TIMEOUT_MS));
    this.typing.set(from, user?.name ?? "");
    this.emit("change");
  }

  /** @internal */
  stoppedTyping(from: string): void {
    clearTimeout(this.#timers.get(from));
    this.#timers.delete(from);
    if (this.typing.delete(from)) this.emit("change");
  }

  /** Announces that this user is typing, at most once per TYPING_INTERVAL_MS. */
  startTyping(): void {
    if (Date.now() - this.#typingSentAt < TYPING_INTERVAL_MS) return;
    this.#typingSentAt = Date.now();
    this.#wire.typing(true);
  }

  stopTyping(): void {
    if (this.#typingSentAt === 0) return;
    this.#typingSentAt = 0;
    this.#wire.typing(false);
  }

  #withMine(message: WireMessage): ChatMessage {
    return { ...message, mine: message.from === this.#selfId };
  }
}
