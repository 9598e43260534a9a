// One peer connection to another participant: perfect negotiation, and recovery after a failure.
//
// Both browsers derive their role from the two peer ids. The peer with the larger id is impolite:
// it sends the first offer, and its offer wins a collision. The other peer is polite: it waits for
// the first offer and yields in a collision. Therefore the first negotiation never collides,
// sections 0 and 1 are always microphone and camera, and any later section is a screen.

const ICE_RESTARTS = 2;
const STALL_TIMEOUT_MS = 12_000;
const STALL_TIMEOUT_MAX_MS = 60_000;

/**
 * Returns the session id in a description's `o=` line. It identifies the sender's
 * RTCPeerConnection, because RFC 8829 keeps it for the lifetime of the connection.
 */
const originOf = (description) => /^o=\S+ (\S+)/m.exec(description.sdp ?? "")?.[1];

/**
 * Dispatches `change` when a stream is added or removed, or the connection's state changes.
 * `streams.camera` and `streams.screen` are the streams that the other participant sends.
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
   * @param {string} options.peerId peer id of the other participant
   * @param {string} options.selfId this page's own peer id
   * @param {(event: string, payload: object) => void} options.signal sends to the other participant
   * @param {import("./media.js").LocalMedia} options.local
   * @param {() => RTCIceServer[]} options.iceServers called for each new connection, because TURN
   *   credentials expire
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

  /**
   * Handles `webrtc:offer` and `webrtc:answer`, in order: each depends on the state after the last.
   */
  receiveDescription(description) {
    this.#enqueue(() => this.#applyDescription(description));
  }

  receiveCandidate(candidate) {
    this.#enqueue(async () => {
      try {
        await this.#pc.addIceCandidate(candidate);
      } catch (error) {
        // The candidate belongs to an offer ignored in a collision, or to a replaced connection.
        if (!this.#ignoringOffer) console.debug("candidate not applicable", error.name);
      }
    });
  }

  /** Handles `webrtc:renegotiation-needed`: the polite peer asks the impolite one to start over. */
  receiveStartOver() {
    if (!this.polite) this.#startOver();
  }

  /** Sends the current local media. Only starting or stopping a screen needs a negotiation. */
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

  /** Uses the present ICE servers at the next ICE restart. */
  useIceServers() {
    this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers: this.#iceServers() });
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
    pc.addEventListener("track", (event) => this.#trackAdded(pc, event));
    if (!this.polite) {
      for (const kind of ["audio", "video"]) pc.addTransceiver(kind, { streams: [this.#local.stream] });
      this.updateMedia();
    }
    this.#watchForStall(STALL_TIMEOUT_MS);
    this.#changed();
  }

  async #offer(pc) {
    try {
      this.#makingOffer = true;
      await pc.setLocalDescription();
      // After a collision in the meantime the local description may be an answer or absent.
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
      // A late answer to a replaced connection is harmless. An offer that cannot be applied means
      // that the two peers disagree about the connection, and only a new connection resolves that.
      console.debug("description not applicable", description.type, error.name);
      if (description.type === "offer" && pc === this.#pc) this.#askToStartOver();
    }
  }

  /** Sends microphone and camera on the two sections that the first offer created. */
  #adoptFirstOffer() {
    for (const transceiver of this.#pc.getTransceivers().slice(0, 2)) {
      transceiver.direction = "sendrecv";
      transceiver.sender.setStreams(this.#local.stream);
    }
    this.updateMedia();
  }

  #trackAdded(pc, { transceiver, track }) {
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

  /**
   * Starts over when the connection is not established within `delay`. No event reports a stalled
   * negotiation. The delay doubles with each attempt, up to STALL_TIMEOUT_MAX_MS.
   */
  #watchForStall(delay) {
    clearTimeout(this.#stall);
    this.#stall = setTimeout(() => {
      if (["connected", "closed"].includes(this.#pc.connectionState)) return;
      this.#askToStartOver();
      this.#watchForStall(Math.min(delay * 2, STALL_TIMEOUT_MAX_MS));
    }, delay);
  }

  #enqueue(step) {
    this.#incoming = this.#incoming.then(step);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
