// A line to a signaling node that can be cut and laid to another node.
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** A TCP proxy on a free port of this machine. */
export class Line {
  #server;
  #pairs = new Set();
  #target;

  /** @param {string} url the node that new connections are laid to */
  static async to(url) {
    const line = new Line();
    line.lay(url);
    line.#server = createServer((near) => line.#splice(near)).listen(0, "127.0.0.1");
    await once(line.#server, "listening");
    line.url = `http://127.0.0.1:${line.#server.address().port}`;
    return line;
  }

  /** New connections go to this node; those there are stay. */
  lay(url) {
    this.#target = new URL(url);
  }

  /** How many connections there are to cut. */
  get connections() {
    return this.#pairs.size;
  }

  /** Resets every connection on both sides: no close frame, no goodbye. */
  cut() {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
    this.#pairs.clear();
  }

  close() {
    this.cut();
    this.#server.close();
  }

  #splice(near) {
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
