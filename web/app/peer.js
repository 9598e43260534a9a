// One connection to one other participant: perfect negotiation, and recovery when it fails.
//
// Both browsers derive their part from the two peer ids. The larger one is impolite: it opens the connection and
// wins a collision of offers. The smaller one is polite: it waits for the first offer and yields. So the first
// negotiation never collides, sections 0 and 1 are always microphone and camera, and any later section is a screen.

const ICE_RESTARTS = 2;
const STALL_MS = 12_000;
const STALL_MAX_MS = 60_000;

/** The sender's RTCPeerConnection behind a description: RFC 8829 keeps the origin's session id for its lifetime. */
const originOf = (description) => /^o=\S+ (\S+)/m.exec(description.sdp ?? "")?.[1];

/**
 * Dispatches `change` when a stream came or went or the connection's state changed.
 * `streams.camera` and `streams.screen` are what the other side sends.
 */
export class Peer extends EventTarget {
  #pc;
  #signal;
  #local;
  #iceServers;
  #makingOffer = false;
  #ignoringOffer = false;
  #remoteOrigin = null;
  #screenSender = null;
  #restarts = 0;
  #stall = null;
  #incoming = Promise.resolve();

  /**
   * @param {object} options
   * @param {string} options.peerId the other participant
   * @param {string} options.selfId this one
   * @param {(event: string, payload: object) => void} options.signal sends to the other participant
   * @param {import("./media.js").LocalMedia} options.local
   * @param {() => RTCIceServer[]} options.iceServers asked for each new connection: TURN credentials expire
   */
  constructor({ peerId, selfId, signal, local, iceServers }) {
    super();
    this.peerId = peerId;
    this.polite = selfId < peerId;
    this.#signal = signal;
    this.#local = local;
    this.#iceServers = iceServers;
    this.#open();
  }

  get connectionState() {
    return this.#pc.connectionState;
  }

  /** Handles `webrtc:offer`, `webrtc:answer`: one after the other, since each needs the state the last one left. */
  receiveDescription(description) {
    this.#enqueue(() => this.#applyDescription(description));
  }

  receiveCandidate(candidate) {
    this.#enqueue(async () => {
      try {
        await this.#pc.addIceCandidate(candidate);
      } catch (error) {
        // Belongs to an offer we refused in a collision, or to a connection that was started over since.
        if (!this.#ignoringOffer) console.debug("candidate not applicable", error.name);
      }
    });
  }

  /** The polite side found no way to repair the connection: the impolite side opens a new one. */
  receiveStartOver() {
    if (!this.polite) this.#startOver();
  }

  /** Sends what the local media are now. Only a screen that comes or goes needs a negotiation. */
  updateMedia() {
    const [audio, video] = this.#pc.getTransceivers();
    if (!video) return;
    audio.sender.replaceTrack(this.#local.audioTrack);
    video.sender.replaceTrack(this.#local.videoTrack);
    const screen = this.#local.screen?.getVideoTracks()[0] ?? null;
    if (this.#screenSender?.sender.track === screen) return;
    this.#screenSender?.stop();
    this.#screenSender =
      screen && this.#pc.addTransceiver(screen, { direction: "sendonly", streams: [this.#local.screen] });
  }

  /** Sums of the inbound and outbound RTP statistics. */
  async stats() {
    const sums = { framesDecoded: 0, framesSent: 0, bytesReceived: 0, bytesSent: 0 };
    for (const report of (await this.#pc.getStats()).values()) {
      if (!report.type.endsWith("bound-rtp")) continue;
      for (const key of Object.keys(sums)) sums[key] += report[key] ?? 0;
    }
    return sums;
  }

  close() {
    clearTimeout(this.#stall);
    this.#pc.close();
  }

  #open() {
    const pc = new RTCPeerConnection({ iceServers: this.#iceServers() });
    this.#pc = pc;
    this.#makingOffer = this.#ignoringOffer = false;
    this.#remoteOrigin = this.#screenSender = null;
    this.streams = { camera: new MediaStream(), screen: null };
    pc.addEventListener("negotiationneeded", () => this.#offer(pc));
    pc.addEventListener(
      "icecandidate",
      ({ candidate }) => candidate && this.#signal("webrtc:ice-candidate", { candidate }),
    );
    pc.addEventListener("connectionstatechange", () => this.#connectionChanged(pc));
    pc.addEventListener("track", (event) => this.#trackCame(pc, event));
    if (!this.polite) {
      for (const kind of ["audio", "video"]) pc.addTransceiver(kind, { streams: [this.#local.stream] });
      this.updateMedia();
    }
    this.#watchForStall(STALL_MS);
    this.#changed();
  }

  async #offer(pc) {
    try {
      this.#makingOffer = true;
      await pc.setLocalDescription();
      // A collision in the meantime may have made this an answer, or nothing.
      if (pc.localDescription?.type === "offer") this.#signal("webrtc:offer", { offer: pc.localDescription });
    } catch (error) {
      console.debug("offer not made", error.name);
    } finally {
      this.#makingOffer = false;
    }
  }

  async #applyDescription(description) {
    if (description.type === "offer") {
      const origin = originOf(description);
      if (this.polite && this.#remoteOrigin && origin !== this.#remoteOrigin) this.#reopen();
      const collision = this.#makingOffer || this.#pc.signalingState !== "stable";
      this.#ignoringOffer = !this.polite && collision;
      if (this.#ignoringOffer) return;
    }
    const pc = this.#pc;
    try {
      await pc.setRemoteDescription(description);
      if (description.type !== "offer") return;
      if (!this.#remoteOrigin) this.#adoptFirstOffer();
      this.#remoteOrigin = originOf(description);
      await pc.setLocalDescription();
      this.#signal("webrtc:answer", { answer: pc.localDescription });
    } catch (error) {
      // An answer to a connection that is gone is late news. An offer that does not fit means the two sides
      // disagree on the connection, and only a new one settles that.
      console.debug("description not applicable", description.type, error.name);
      if (description.type === "offer" && pc === this.#pc) this.#askToStartOver();
    }
  }

  /** The first offer brought the microphone's and camera's sections: send on them too. */
  #adoptFirstOffer() {
    for (const transceiver of this.#pc.getTransceivers().slice(0, 2)) {
      transceiver.direction = "sendrecv";
      transceiver.sender.setStreams(this.#local.stream);
    }
    this.updateMedia();
  }

  #trackCame(pc, { transceiver, track }) {
    if (pc.getTransceivers().indexOf(transceiver) < 2) {
      this.streams.camera.addTrack(track);
    } else {
      const screen = new MediaStream([track]);
      this.streams.screen = screen;
      track.addEventListener("ended", () => {
        if (this.streams.screen === screen) this.streams.screen = null;
        this.#changed();
      });
    }
    this.#changed();
  }

  #connectionChanged(pc) {
    if (pc !== this.#pc) return;
    if (pc.connectionState === "connected") {
      this.#restarts = 0;
      clearTimeout(this.#stall);
    } else if (pc.connectionState === "failed") {
      this.#restarts += 1;
      if (this.#restarts <= ICE_RESTARTS) pc.restartIce();
      else this.#askToStartOver();
    }
    this.#changed();
  }

  #askToStartOver() {
    if (this.polite) this.#signal("webrtc:renegotiation-needed", {});
    else this.#startOver();
  }

  #startOver() {
    this.#restarts = 0;
    this.#reopen();
  }

  #reopen() {
    this.close();
    this.#open();
  }

  /** Nothing at all came of the negotiation, so no event will tell: ask again, ever less often. */
  #watchForStall(delay) {
    clearTimeout(this.#stall);
    this.#stall = setTimeout(() => {
      if (["connected", "closed"].includes(this.#pc.connectionState)) return;
      this.#askToStartOver();
      this.#watchForStall(Math.min(delay * 2, STALL_MAX_MS));
    }, delay);
  }

  #enqueue(step) {
    this.#incoming = this.#incoming.then(step);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
