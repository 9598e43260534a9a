// Chat of the call: messages, history, unread count and typing notices.
import { Emitter } from "./emitter.js";
import type { Answer } from "./signaling.js";
import type { ChatMessage, User } from "./types.js";

/** Time that a participant is shown as typing after their last typing event. */
const TYPING_TIMEOUT_MS = 6_000;
/** Shortest time between two typing events that this page sends. */
const TYPING_INTERVAL_MS = 3_000;
/** Pages of missed messages that are fetched after a lost connection. */
const PAGES_MAX = 20;

/** @internal */
export interface ChatWire {
  send(payload: object): Promise<Answer>;
  typing(isTyping: boolean): void;
  history(page: { before?: string }): Promise<Answer>;
}

type WireMessage = Omit<ChatMessage, "mine">;

const time = (message?: WireMessage): number => Date.parse(message?.timestamp ?? "");

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
  /** Where the server's next page of older messages ends. */
  #next: string | undefined;
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
    const known = new Set(this.messages.map(({ id }) => id));
    const newest = time(this.messages.at(-1));
    const isKnown = ({ id }: WireMessage) => known.has(id);
    let answer = null as Answer | null;
    let fetched: WireMessage[] = [];
    for (let pages = 0; pages < PAGES_MAX; pages += 1) {
      const before: string | undefined = answer?.next ?? fetched[0]?.id;
      answer = await this.#wire.history({ before }).catch(() => null);
      if (!answer) break;
      fetched = [...answer.messages, ...fetched];
      // Older pages have missed messages only if this one begins with a missed message.
      if (!answer.hasMore || known.size === 0 || fetched.some(isKnown)) break;
      if (fetched.length > 0 && !(time(fetched[0]) > newest)) break;
    }
    if (!answer && fetched.length === 0) return;
    // The server's order decides: messages that it lists before a known one are older, the others
    // were missed. Timestamps decide only when no fetched message is known here.
    const common = fetched.findIndex(isKnown);
    const missed = time(fetched.at(-1)) > newest;
    const border = common !== -1 ? common : missed ? 0 : fetched.length;
    // Messages between the known and the fetched ones were not fetched: `loadEarlier` gets both.
    const hasGap = common === -1 && missed && (!answer || answer.hasMore);
    // The last ones arrived while the history was fetched.
    const arrived = this.messages.findLastIndex(isKnown) + 1;
    const older = hasGap ? [] : this.messages.slice(0, arrived);
    const newer = this.messages.slice(arrived);
    this.messages = this.#merge(fetched.slice(0, border), older, fetched.slice(border), newer);
    if (hasGap || border > 0 || known.size === 0) this.#setEarlier(answer ?? { hasMore: true });
    this.emit("change");
  }

  /** Fetches the page of messages before the oldest one known here. */
  async loadEarlier(): Promise<void> {
    const answer = await this.#wire.history({ before: this.#next ?? this.messages[0]?.id }).catch(() => null);
    if (!answer) return;
    this.messages = this.#merge(answer.messages, this.messages);
    this.#setEarlier(answer);
    this.emit("change");
  }

  /** Lists each message once: a known one as it is here, at its first place. */
  #merge(...parts: (WireMessage | ChatMessage)[][]): ChatMessage[] {
    const known = new Map(this.messages.map((message) => [message.id, message]));
    const merged = new Map<string, ChatMessage>();
    for (const each of parts.flat()) merged.has(each.id) || merged.set(each.id, known.get(each.id) ?? this.#withMine(each));
    return [...merged.values()];
  }

  #setEarlier({ hasMore, next }: Answer): void {
    this.hasMore = hasMore;
    this.#next = next;
  }

  /**
   * Sends a message and lists it when the server has accepted it.
   * @param to the only receiver, or null for all participants
   * @throws {SwitchboardError}
   */
  async send(text: string, to: { peerId: string; name: string } | null = null): Promise<void> {
    const { id, timestamp } = await this.#wire.send({ message: text, ...(to && { to: to.peerId }) });
    this.stopTyping();
    const listed = this.messages.find((message) => message.id === id);
    // The history had the message before its acknowledgement came.
    if (listed) Object.assign(listed, { mine: true, toName: to?.name });
    else this.messages.push({ id, timestamp, message: text, from: this.#selfId!, mine: true, to: to?.peerId, toName: to?.name });
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
