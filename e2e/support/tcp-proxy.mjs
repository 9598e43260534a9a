// TCP proxy to a signaling node. A test can cut its connections and point it to another node.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { until } from "./until.mjs";

/** TCP proxy on a free port of this machine. */
export class TcpProxy {
  #server;
  #pairs = new Set();
  #target;

  /**
   * Starts a proxy.
   * @param {string} url the target of new connections
   */
  static async to(url) {
    const proxy = new TcpProxy();
    proxy.pointTo(url);
    proxy.#server = createServer((near) => proxy.#forward(near)).listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}`;
    return proxy;
  }

  /** Sets the target of new connections. Existing connections stay. */
  pointTo(url) {
    this.#target = new URL(url);
  }

  /** Number of open connections. */
  get connections() {
    return this.#pairs.size;
  }

  /** Resets every connection on both sides, without a close frame. */
  cut() {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
    this.#pairs.clear();
  }

  /**
   * Forwards nothing more on the present connections, and closes none of them: the network of the
   * client is gone, and the server does not know.
   */
  freeze() {
    for (const [near, far] of this.#pairs) {
      near.unpipe().pause();
      far.unpipe().pause();
    }
  }

  /**
   * Cuts until `promise` is settled, such as a client's next disconnect. Between two polls a client
   * has no connection, or one whose response it has received already.
   */
  async cutUntil(promise) {
    let settled = false;
    const settle = () => (settled = true);
    promise.then(settle, settle);
    await until("the cut is noticed", () => {
      if (!settled) this.cut();
      return settled;
    });
  }

  close() {
    this.cut();
    this.#server.close();
  }

  #forward(near) {
    // A connection that was on its way when the proxy closed.
    if (!this.#server.listening) return near.destroy();
    const far = connect(Number(this.#target.port), this.#target.hostname);
    const pair = [near, far];
    this.#pairs.add(pair);
    near.pipe(far).pipe(near);
    for (const socket of pair) {
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#pairs.delete(pair);
        for (const other of pair) other.destroy();
      });
    }
  }
}
