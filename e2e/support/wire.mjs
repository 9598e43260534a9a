// Reads and changes the packets between one page and the service.

/** WebSockets of one page. Packets are those of Socket.IO. */
export class Wire {
  /** Events that the page has sent, `{ event, payload, ack }`, oldest first. */
  sent = [];
  /**
   * Returns false to swallow an event of the page. `answer` acknowledges it in the server's place.
   */
  onEvent = () => true;
  /** Returns the packet for the page, or null to swallow it. */
  onPacket = (packet) => packet;
  /** Returns the packet that the service gets in place of the page's connect packet. */
  onConnect = (packet) => packet;
  /** Whether new connections are closed before they reach the service. */
  offline = false;
  /** Time that a packet takes in each direction, in milliseconds. */
  delay = 0;
  #sockets = [];

  static async of(page) {
    const wire = new Wire();
    await page.routeWebSocket(/\/socket\.io\//, (near) => wire.#connect(near));
    return wire;
  }

  #connect(near) {
    if (this.offline) return void near.close({ code: 4999, reason: "offline" });
    const far = near.connectToServer();
    this.#sockets.push(near);
    near.onMessage((packet) => {
      const [, ack, text] = /^42(\d*)(\[.*)$/s.exec(packet) ?? [];
      if (text) {
        const [event, payload] = JSON.parse(text);
        const sent = { event, payload, ack };
        this.sent.push(sent);
        const answer = (value) => near.send(`43${ack}${JSON.stringify([value])}`);
        if (!this.onEvent(sent, answer)) return;
      }
      const passed = packet.startsWith("40") ? this.onConnect(packet) : packet;
      this.#after(() => far.send(passed));
    });
    far.onMessage((packet) => {
      const passed = this.onPacket(packet);
      if (passed !== null) this.#after(() => near.send(passed));
    });
  }

  #after(send) {
    if (this.delay === 0) send();
    else setTimeout(send, this.delay);
  }

  /** Sends the page an event in the server's place. */
  push(event, payload) {
    this.#sockets.at(-1).send(`42${JSON.stringify([event, payload])}`);
  }

  /** Closes the page's session in the server's place. */
  closeSession() {
    this.#sockets.at(-1).send("41");
  }

  /** Cuts a connection: the latest one, or the one at this position in the order of opening. */
  async cut(position = -1) {
    await this.#sockets.at(position).close({ code: 4999, reason: "cut" });
  }

  all(event) {
    return this.sent.filter((sent) => sent.event === event).map(({ payload }) => payload);
  }

  /** Offers and answers that the page has sent, oldest first. */
  descriptions() {
    return this.sent.map(({ payload }) => payload?.offer ?? payload?.answer).filter(Boolean);
  }
}
