// HTTP as bytes, for requests that `fetch` cannot make.
import { connect } from "node:net";
import { within } from "./until.mjs";

/** One TCP connection to a server. */
export class RawConnection {
  #socket;
  #bytes = Buffer.alloc(0);
  #waiting = [];
  #ended = null;

  constructor(url) {
    const { hostname, port } = new URL(url);
    this.#socket = connect(Number(port), hostname);
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (data) => {
      this.#bytes = Buffer.concat([this.#bytes, data]);
      this.#wake();
    });
    this.#socket.on("error", (error) => this.#end(error.code));
    this.#socket.on("close", () => this.#end("closed"));
  }

  write(bytes) {
    this.#socket.write(bytes);
  }

  close() {
    this.#socket.destroy();
  }

  /** Resolves with the next `length` bytes. Rejects when the connection ends before. */
  async read(length) {
    await this.#until(`${length} bytes`, () => this.#bytes.length >= length);
    return this.#take(length);
  }

  /** Resolves with the next response: `{ version, status, headers, body }`. */
  async response() {
    await this.#until("the head of a response", () => this.#bytes.includes("\r\n\r\n"));
    const [line, ...fields] = this.#take(this.#bytes.indexOf("\r\n\r\n") + 4).toString().trimEnd().split("\r\n");
    const headers = Object.fromEntries(
      fields.map((field) => {
        const colon = field.indexOf(":");
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
      }),
    );
    const [version, status] = line.split(" ");
    const bodiless = status.startsWith("1") || status === "204" || status === "304";
    const body = bodiless ? "" : await this.#body(headers);
    return { version, status: Number(status), headers, body };
  }

  async #body(headers) {
    if (headers["content-length"] !== undefined) return (await this.read(Number(headers["content-length"]))).toString();
    if (headers["transfer-encoding"] === "chunked") {
      let body = "";
      for (;;) {
        await this.#until("the size of a chunk", () => this.#bytes.includes("\r\n"));
        const size = parseInt(this.#take(this.#bytes.indexOf("\r\n") + 2).toString(), 16);
        body += (await this.read(size + 2)).subarray(0, size);
        if (size === 0) return body;
      }
    }
    await within("the end of the connection", new Promise((resolve) => (this.#ended ? resolve() : this.#waiting.push(resolve))));
    return this.#take(this.#bytes.length).toString();
  }

  #take(length) {
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }

  async #until(what, condition) {
    while (!condition()) {
      if (this.#ended) throw new Error(`${this.#ended} before ${what}: ${JSON.stringify(this.#bytes.toString())}`);
      await within(what, new Promise((resolve) => this.#waiting.push(resolve)));
    }
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #end(reason) {
    this.#ended ??= reason;
    this.#wake();
  }
}

/**
 * Sends one request and resolves with its response. `headers` are added to `Host`, and
 * `Content-Length` to a request with a body.
 */
export async function rawRequest(url, { method = "GET", target, version = "1.1", headers = {}, body } = {}) {
  const connection = new RawConnection(url);
  try {
    connection.write(requestText(url, { method, target, version, headers, body }));
    return await connection.response();
  } finally {
    connection.close();
  }
}

/** Returns the bytes of a request. */
export function requestText(url, { method = "GET", target, version = "1.1", headers = {}, body } = {}) {
  const { host, pathname, search } = new URL(url);
  const chunked = Object.keys(headers).some((name) => name.toLowerCase() === "transfer-encoding");
  const fields = {
    Host: host,
    ...(body !== undefined && !chunked && { "Content-Length": Buffer.byteLength(body) }),
    ...headers,
  };
  const lines = Object.entries(fields).flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`));
  const head = `${method} ${target ?? pathname + search} HTTP/${version}\r\n${lines.join("\r\n")}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(body ?? "")]);
}
