// One request to REST. Every answer has the same envelope; every failure is a SwitchboardError.
import { SwitchboardError } from "./errors.js";

/** Time after which a request without an answer fails. */
const TIMEOUT_MS = 15_000;

/** @internal */
export interface RequestInput {
  /** Sent as JSON. */
  body?: unknown;
  /** Access token. */
  token?: string;
  /** Key of an operator. */
  apiKey?: string;
  /** API key of an app. */
  appKey?: AppKeyCredentials;
  /** Headers of the operation, such as `Idempotency-Key`. */
  headers?: Record<string, string>;
}

/** API key of an app, with which its backend authenticates. */
export interface AppKeyCredentials {
  /** Public id, `sbk_...`. */
  keyId: string;
  /** Secret, `sbs_...`. It belongs on your server alone. */
  secret: string;
}

/**
 * Returns the address of a service with a slash at its end, so that addresses below it are
 * relative.
 * @internal
 */
export function serviceUrl(address: string | URL): URL {
  const url = new URL(address);
  url.search = url.hash = "";
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

/**
 * Sends a request and returns the data of its answer.
 * @throws {SwitchboardError} with the code of the refusal; `UNREACHABLE` without an answer;
 *   `SERVICE_UNAVAILABLE` for an answer that is not the service's
 * @internal
 */
export async function request<T>(
  method: string,
  url: string,
  { body, token, apiKey, appKey, headers }: RequestInput = {},
): Promise<T> {
  const response = await fetch(url, {
    method,
    headers: {
      accept: "application/json",
      ...(body !== undefined && { "content-type": "application/json" }),
      ...(token && { authorization: `Bearer ${token}` }),
      ...(apiKey && { "x-api-key": apiKey }),
      ...(appKey && { authorization: `Basic ${btoa(`${appKey.keyId}:${appKey.secret}`)}` }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch(() => {
    throw new SwitchboardError({ code: "UNREACHABLE" });
  });
  const envelope = await response.json().catch(() => null);
  if (envelope?.success) return envelope.data;
  throw new SwitchboardError(envelope ?? { code: "SERVICE_UNAVAILABLE" });
}
