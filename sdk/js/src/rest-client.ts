// `@switchboard/client/rest`: every operation of REST, with the types of the OpenAPI document. It
// is for servers and scripts; a page that joins calls needs `Switchboard` alone.
import { ROUTES, type Operations } from "./generated/rest.js";
import { request, serviceUrl } from "./request.js";

export { SwitchboardError } from "./errors.js";
export type * from "./generated/rest.js";

type Fields = Record<string, unknown>;
type Input<Name extends keyof Operations> = Omit<Operations[Name], "data">;
/** Nothing where an operation has no input, and where all of it is optional. */
type Given<Name extends keyof Operations> = {} extends Input<Name> ? [input?: Input<Name>] : [input: Input<Name>];

export interface RestClientOptions {
  /** Access token of a user, or a function that gives one for each request. */
  token?: string | (() => string | Promise<string>);
  /** Key of an operator, for the operations under `/admin`. */
  apiKey?: string;
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
    const { path = {}, query = {}, body } = (given[0] ?? {}) as Partial<Record<"path" | "query" | "body", Fields>>;
    const [method, route] = ROUTES[name];
    const filled = route.replace(/\{(\w+)\}/g, (_, field) => encodeURIComponent(String(path[field])));
    const parameters = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
    const search = new URLSearchParams(parameters.map(([field, value]) => [field, String(value)]));
    const { token, apiKey } = this.#options;
    const bearer = typeof token === "function" ? await token() : token;
    const url = `${this.#base}${filled}${search.size > 0 ? `?${search}` : ""}`;
    return request(method, url, { body, token: bearer, apiKey });
  }
}
