// `@switchboard/client/rest`: every operation of REST, with the types of the OpenAPI document. It
// is for backends and scripts; a page that joins calls needs `Switchboard` alone.
import { ROUTES, type Operations } from "./generated/rest.js";
import { request, serviceUrl, type AppKeyCredentials } from "./request.js";

export { SwitchboardError } from "./errors.js";
export type { AppKeyCredentials } from "./request.js";
export type * from "./generated/rest.js";

type Fields = Record<string, unknown>;
type Place = "path" | "query" | "header" | "body";
type Input<Name extends keyof Operations> = Omit<Operations[Name], "data">;
/** Nothing where an operation has no input, and where all of it is optional. */
type Given<Name extends keyof Operations> = {} extends Input<Name> ? [input?: Input<Name>] : [input: Input<Name>];

/** Credentials of the requests: one of these, or none. */
export interface RestClientOptions {
  /** Access token of a user, or a function that gives one for each request. */
  token?: string | (() => string | Promise<string>);
  /** API key of an app, for the operations under `/server`. */
  appKey?: AppKeyCredentials;
  /** Key of an operator, for the operations under `/admin`. */
  apiKey?: string;
}

/** The fields that are there, as texts. */
function texts(fields: Fields = {}): Record<string, string> {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(given.map(([field, value]) => [field, String(value)]));
}

/** Sends requests to a service. It renews no tokens and repeats nothing. */
export class RestClient {
  #base: string;
  #options: RestClientOptions;

  /** @param url address of the service, with a path if it is behind one */
  constructor(url: string | URL, options: RestClientOptions = {}) {
    this.#base = new URL("api", serviceUrl(url)).href;
    this.#options = options;
  }

  /**
   * Performs an operation: `call("createCall", { body: { title: "Weekly" } })`.
   * @throws {SwitchboardError} with the code of the refusal, or `UNREACHABLE`
   */
  async call<Name extends keyof Operations>(name: Name, ...given: Given<Name>): Promise<Operations[Name]["data"]> {
    const { path = {}, query = {}, header, body } = (given[0] ?? {}) as Partial<Record<Place, Fields>>;
    const [method, route] = ROUTES[name];
    const filled = route.replace(/\{(\w+)\}/g, (_, field) => encodeURIComponent(String(path[field])));
    const search = new URLSearchParams(texts(query));
    const { token, apiKey, appKey } = this.#options;
    const bearer = typeof token === "function" ? await token() : token;
    const url = `${this.#base}${filled}${search.size > 0 ? `?${search}` : ""}`;
    return request(method, url, { body, token: bearer, apiKey, appKey, headers: texts(header) });
  }
}
