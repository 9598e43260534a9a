// Refusals and the sentences that the user sees. Codes are stable; the server's messages are for
// developers.

/** A refusal by the api or a signaling node, or a failure to reach them. */
export class Refusal extends Error {
  /**
   * @param {{code?: string, message?: string, errors?: {field: string, message: string}[],
   *   retryAfter?: number}} body `retryAfter` in seconds
   */
  constructor({ code = "INTERNAL_ERROR", message = "", errors = [], retryAfter } = {}) {
    super(message || code);
    this.name = "Refusal";
    this.code = code;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed a little later. */
  get isTemporary() {
    return TEMPORARY.has(this.code);
  }
}

const TEMPORARY = new Set(["SERVICE_UNAVAILABLE", "RATE_LIMIT_EXCEEDED", "UNREACHABLE"]);

// Pauses between attempts, in milliseconds. Together they are longer than an election of MongoDB or
// Redis takes, and than the restart of a pod.
const PAUSES_MS = [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000];

/**
 * Runs `action`, and again after a pause while its refusal is temporary.
 * @param {() => Promise<T>} action
 * @param {(refusal: Refusal) => boolean} isWanted whether another attempt is of use
 * @template T
 */
export async function persist(action, isWanted) {
  for (const pause of PAUSES_MS) {
    try {
      return await action();
    } catch (refusal) {
      if (!refusal.isTemporary || !isWanted(refusal)) throw refusal;
      await new Promise((resolve) => setTimeout(resolve, Math.max(pause, (refusal.retryAfter ?? 0) * 1_000)));
      if (!isWanted(refusal)) throw refusal;
    }
  }
  return action();
}

const SENTENCES = {
  INVALID_CREDENTIALS: "That e-mail and password do not match.",
  TOKEN_EXPIRED: "Your sign-in has expired. Please sign in again.",
  TOKEN_INVALID: "Your sign-in is no longer valid. Please sign in again.",
  UNAUTHORIZED: "Please sign in first.",
  USER_NOT_FOUND: "There is no such account.",
  CALL_NOT_FOUND: "There is no call at this link.",
  CALL_ENDED: "This call has ended.",
  CALL_FULL: "This call is full.",
  INVALID_PASSCODE: "That passcode is wrong.",
  HOST_REQUIRED: "Only the host can do that.",
  ROOM_NOT_FOUND: "There is no call at this link.",
  ROOM_FULL: "This call is full.",
  ROOM_LOCKED: "The host has locked this call.",
  NOT_IN_ROOM: "You are not in this call.",
  PEER_NOT_FOUND: "That person has left.",
  BANNED: "You are banned from this call and cannot return.",
  REMOVED: "You were removed from this call.",
  VALIDATION_ERROR: "Something in the form is not valid.",
  INVALID_INPUT: "Something in the form is not valid.",
  PAYLOAD_TOO_LARGE: "That is too long to send.",
  RATE_LIMIT_EXCEEDED: "Too many requests. Please wait a moment.",
  SERVICE_UNAVAILABLE: "The service is not available right now. Please try again shortly.",
  UNREACHABLE: "Switchboard cannot be reached. Please check your connection.",
  DATABASE_ERROR: "The service is not available right now. Please try again shortly.",
  UNKNOWN_EVENT: "This server does not support that.",
  BINARY_NOT_SUPPORTED: "This server does not accept files here.",
  ROOM_EXISTS: "There is already a call with this code.",
  ROUTE_NOT_FOUND: "This server does not support that.",
  UNSUPPORTED_MEDIA_TYPE: "The server did not understand this page. Please reload it.",
  INTERNAL_ERROR: "Something went wrong on our side. Please try again.",
  USER_EXISTS: "There is already an account with this e-mail address.",
};

/** Returns the sentence to show for an error of any kind. */
export function sentence(error) {
  if (!(error instanceof Refusal)) return "Something went wrong on this page. Please reload it.";
  if (error.errors.length > 0)
    return error.errors.map(({ field, message }) => (field ? `${field}: ${message}` : message)).join("; ");
  // FORBIDDEN has many causes, so the server's message names the one.
  return SENTENCES[error.code] ?? (error.message || "Something went wrong. Please try again.");
}
