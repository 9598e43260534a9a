// Errors by code. Codes are stable; the messages are for developers.

/** One field of a form that is not valid. */
export interface FieldError {
  field: string;
  message: string;
}

/** Fields of a refusal. Each may be missing. */
export interface Refusal {
  code?: string;
  message?: string;
  errors?: FieldError[];
  /** Seconds after which the request may be sent again. */
  retryAfter?: number;
}

// Codes of refusals after which the same request may succeed a little later.
const TEMPORARY = new Set([
  "SERVICE_UNAVAILABLE",
  "IDENTITY_SOURCE_UNAVAILABLE",
  "RATE_LIMIT_EXCEEDED",
  "UNREACHABLE",
]);

/**
 * A refusal by the service, or a failure in this browser. `code` is one of docs/PROTOCOL.md, or:
 *
 * - `UNREACHABLE`: no answer from the service within the bound.
 * - `QUEUE_FULL`: too many events wait for the connection to return.
 * - `LEFT`: the room was left before the request was answered.
 * - `DEVICE_DENIED`, `DEVICE_MISSING`, `DEVICE_BUSY`: a device cannot be opened.
 * - `INSECURE_ORIGIN`: browsers give devices only to `https` pages and to `localhost`.
 */
export class SwitchboardError extends Error {
  readonly code: string;
  readonly errors: FieldError[];
  /** Seconds after which the request may be sent again, if the service said so. */
  readonly retryAfter?: number;

  constructor({ code = "INTERNAL_ERROR", message = "", errors = [], retryAfter }: Refusal = {}) {
    super(message || code);
    this.name = "SwitchboardError";
    this.code = code;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed a little later. */
  get isTemporary(): boolean {
    return TEMPORARY.has(this.code);
  }
}

/** Returns the error itself, or one with the code `INTERNAL_ERROR` for an error of another kind. */
export const asSwitchboardError = (error: unknown): SwitchboardError =>
  error instanceof SwitchboardError ? error : new SwitchboardError({ message: String(error) });

// Refusals of a token that the application gave and that another token resolves. The server refuses
// the key of a token before it looks at the expiry.
const NEEDS_OTHER_TOKEN = new Set(["TOKEN_EXPIRED", "KEY_REVOKED", "TOKEN_INVALID"]);

/**
 * Returns whether another token may resolve a refusal.
 * @param isProvided whether the application gives the tokens, in place of a sign-in on this page
 * @internal
 */
export const needsOtherToken = (code: string, isProvided: boolean): boolean =>
  isProvided ? NEEDS_OTHER_TOKEN.has(code) : code === "TOKEN_EXPIRED";

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Pauses between attempts, in milliseconds. Together they are longer than an election of MongoDB or
// Redis takes, and than the restart of a pod.
export const PAUSES_MS = [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000];

/**
 * Runs `action`, and again after a pause while its refusal is temporary.
 * @param isWanted whether another attempt is of use
 * @internal
 */
export async function persist<T>(
  action: () => Promise<T>,
  isWanted: (refusal: SwitchboardError) => boolean,
): Promise<T> {
  for (const milliseconds of PAUSES_MS) {
    try {
      return await action();
    } catch (error) {
      const refusal = asSwitchboardError(error);
      if (!refusal.isTemporary || !isWanted(refusal)) throw refusal;
      await pause(Math.max(milliseconds, (refusal.retryAfter ?? 0) * 1_000));
      if (!isWanted(refusal)) throw refusal;
    }
  }
  return action();
}
