// Entry point of the SDK: accounts, calls, and joining.
import { LocalMedia } from "./media.js";
import { VIDEO_PARTICIPANTS_MAX } from "./media-policy.js";
import { serviceUrl } from "./request.js";
import { Rest } from "./rest.js";
import { Room } from "./room.js";
import { Session, type Seat, type TokenProvider } from "./session.js";
import type { Transport } from "./signaling.js";
import type { Admission, CallRecord, NewCall, User } from "./types.js";

export interface SwitchboardOptions {
  /**
   * Access token of the user, or a function that gives one. It is called again when the token has
   * expired or is refused (`KEY_REVOKED`, `TOKEN_INVALID`): then it must give another one. While a
   * room returns from a lost connection, a function that fails is called again for up to 40 s.
   * Without it the user signs in with `signIn`, or joins public calls as a guest.
   */
  token?: string | TokenProvider;
  /** Default: long-polling first, which every network allows, then WebSocket. */
  transports?: Transport[];
}

export interface AdmissionOptions {
  /** Name of a guest. */
  name?: string;
  passcode?: string;
}

export interface JoinOptions extends AdmissionOptions {
  /** Opens the microphone, once the call has admitted this page. Default: false. */
  audio?: boolean;
  /** Opens the camera, once the call has admitted this page. Default: false. */
  video?: boolean;
  /** Devices that are open already. The room closes them when it is over. */
  local?: LocalMedia;
  /** Most participants whose cameras are sent. Default: 6. With more, the call is sound alone. */
  videoMax?: number;
}

export interface ListOptions {
  status?: CallRecord["status"];
  limit?: number;
  sort?: "createdAt" | "scheduledAt" | "startedAt" | "title";
  order?: "asc" | "desc";
  after?: string;
}

/** A Switchboard service. One object serves a page. */
export class Switchboard {
  /** Address of the service. */
  readonly url: URL;
  #session: Session;
  #rest: Rest;
  #transports?: Transport[];

  /**
   * @param url address of the service, with a path if it is behind one: `https://example.com/calls/`
   */
  constructor(url: string | URL, { token, transports }: SwitchboardOptions = {}) {
    this.url = serviceUrl(url);
    this.#session = new Session(typeof token === "string" ? () => token : (token ?? null));
    this.#rest = new Rest(this.url, this.#session);
    this.#transports = transports;
  }

  /** User of the account that signed in here, or null. */
  get account(): User | null {
    return this.#session.account;
  }

  /** The account or guest of this tab, or null. */
  get user(): User | null {
    return this.#session.identity?.user ?? null;
  }

  /** Seat that this tab had before it was reloaded, then that of the latest room, or null. */
  get seat(): Readonly<Seat> | null {
    return this.#session.seat;
  }

  /** Registers an account and signs in. @throws {SwitchboardError} `USER_EXISTS`, ... */
  register(form: { name: string; email: string; password: string }): Promise<User> {
    return this.#rest.signIn("/auth/register", form);
  }

  /** @throws {SwitchboardError} `INVALID_CREDENTIALS`, ... */
  signIn(form: { email: string; password: string }): Promise<User> {
    return this.#rest.signIn("/auth/login", form);
  }

  /** Signs out on this page immediately. The request to the server is sent, but not awaited. */
  signOut(): void {
    this.#rest.signOut();
  }

  /** Renews the access token of the account. Requests do this by themselves when it has expired. */
  renewToken(): Promise<void> {
    return this.#rest.renew();
  }

  /** Creates a call. @throws {SwitchboardError} `UNAUTHORIZED`, `VALIDATION_ERROR`, ... */
  async createCall(form: NewCall): Promise<CallRecord> {
    const data = await this.#rest.authorized<CallRecord & { call?: CallRecord }>("POST", "/video-calls", form);
    return data.call ?? data;
  }

  /** Lists calls of the account. @throws {SwitchboardError} */
  async calls(options: ListOptions = {}): Promise<CallRecord[]> {
    const query = new URLSearchParams(Object.entries(options).map(([name, value]) => [name, String(value)]));
    const data = await this.#rest.authorized<CallRecord[] | { calls: CallRecord[] }>("GET", `/video-calls?${query}`);
    return Array.isArray(data) ? data : data.calls;
  }

  /** Looks up a call by its room id. @throws {SwitchboardError} `CALL_NOT_FOUND`, ... */
  call(roomId: string): Promise<CallRecord> {
    return this.#rest.authorized("GET", `/video-calls/room/${encodeURIComponent(roomId)}`);
  }

  /** Opens a call that is over for everyone again. @throws {SwitchboardError} `CALL_ENDED`, ... */
  reopenCall(id: string): Promise<CallRecord> {
    return this.#rest.authorized("POST", `/video-calls/${encodeURIComponent(id)}/reopen`, {});
  }

  /**
   * Joins a call: asks for admission, opens the devices, and connects. A page that was reloaded
   * gets its seat back, with the devices as they were. Resolves when the page has a seat
   * (`room.status` is `live`) or a place in the lobby (`waiting`).
   * @throws {SwitchboardError} `CALL_NOT_FOUND`, `INVALID_PASSCODE`, `CALL_FULL`, `BANNED`, ...
   */
  async join(roomId: string, { local = new LocalMedia(), ...options }: JoinOptions = {}): Promise<Room> {
    const seat = this.#session.formerSeat(roomId);
    const admission = seat ?? (await this.admit(roomId, options));
    const { audio = false, video = false } = seat?.media ?? options;
    await local.start({ audio, video });
    const room = await this.connect(admission, { ...options, local });
    await room.ready;
    return room;
  }

  /** Asks for admission to a call: the first half of `join`. @throws {SwitchboardError} */
  admit(roomId: string, { name, passcode }: AdmissionOptions = {}): Promise<Admission> {
    return this.#rest.join({ roomId, ...(passcode && { passcode }), ...(name && { guestName: name }) });
  }

  /**
   * Connects with an admission, or with the seat of this tab: the second half of `join`. The room
   * is `connecting`; `room.ready` resolves when it is not any more. A page may have several rooms.
   * The devices are closed when this fails.
   */
  async connect(
    admission: Admission | Readonly<Seat>,
    { local = new LocalMedia(), name = this.user?.name, passcode, videoMax = VIDEO_PARTICIPANTS_MAX }: Omit<JoinOptions, "audio" | "video"> = {},
  ): Promise<Room> {
    const session = this.#session;
    const { roomId, joinToken } = admission;
    const title = "call" in admission ? admission.call?.title : (admission as Seat).title;
    try {
      // A duplicated tab is a participant of its own.
      await session.claim();
      const seat = session.openSeat({ roomId, joinToken, title, passcode });
      const admit = async () => {
        const { joinToken } = await this.admit(roomId, { name, passcode: seat.passcode });
        session.updateSeat(seat, { joinToken });
      };
      // A guest has no refresh token: another admission brings another token.
      const canRenew = () => this.#rest.canRenew && !session.isGuestOf(roomId);
      return new Room({
        url: this.url,
        transports: this.#transports,
        session,
        seat,
        local,
        videoMax,
        iceServers: ("iceServers" in admission && admission.iceServers) || [],
        admit,
        renew: () => (canRenew() ? this.#rest.renew() : admit()),
      });
    } catch (error) {
      local.stop();
      throw error;
    }
  }
}
