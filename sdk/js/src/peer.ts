// One peer connection to another participant: perfect negotiation, and recovery after a failure.
//
// docs/PROTOCOL.md, "Media negotiation", has the roles: the peer with the larger id is impolite. It
// sends the first offer, and its offer wins a collision. The other peer is polite: it waits for the
// first offer and yields in a collision. Therefore the first negotiation never collides.
import { Emitter } from "./emitter.js";
import type { ClientEvents } from "./generated/events.js";
import type { LocalMedia } from "./media.js";
import { LEVEL_MAX, adapt, planMedia, type Adaptation, type VideoBounds } from "./media-policy.js";
import { countersOf, grade, measure, type ConnectionQuality, type Counters } from "./quality.js";

const ICE_RESTARTS = 2;
/**
 * Time for which a connection may be `disconnected` before its ICE restarts, for the impolite and
 * the polite peer. They differ so that the two do not restart at the same time.
 */
const DISCONNECTED_MS = { impolite: 1_000, polite: 4_000 };
/** Time after which a connection that is not established is replaced. It doubles each time. */
const STALL_TIMEOUT_MS = 12_000;
const STALL_TIMEOUT_MAX_MS = 60_000;
/** Candidates that wait for the description that they belong to. */
const EARLY_CANDIDATES_MAX = 64;

/**
 * Returns the session id in a description's `o=` line. It identifies the sender's
 * RTCPeerConnection, because RFC 8829 keeps it for the lifetime of the connection.
 */
const originOf = (description: RTCSessionDescriptionInit) => /^o=\S+ (\S+)/m.exec(description.sdp ?? "")?.[1];

export interface PeerOptions {
  /** Peer id of the other participant. */
  peerId: string;
  /** This page's own peer id. */
  selfId: string;
  /** Sends a signal to the other participant. */
  signal: (event: keyof ClientEvents, payload: object) => void;
  local: LocalMedia;
  /** Called for each new connection, because TURN credentials expire. */
  iceServers: () => RTCIceServer[];
  /** Participants of the call, this page included. */
  participants: () => number;
  /** Most participants whose cameras are sent. */
  videoMax: number;
}

/** Sums of the RTP statistics of a connection. */
export interface PeerStats {
  framesDecoded: number;
  framesSent: number;
  bytesReceived: number;
  bytesSent: number;
}

/**
 * Emits `change` when a stream is added or removed, or the connection's state changes, and
 * `quality` when the grade of its quality changes.
 */
export class Peer extends Emitter<{ change: []; quality: [] }> {
  readonly peerId: string;
  /** Whether this page yields in a collision of offers. */
  readonly polite: boolean;
  /** Streams that the other participant sends. */
  streams: { camera: MediaStream; screen: MediaStream | null } = { camera: new MediaStream(), screen: null };
  /** Quality of the connection; null until it was measured. */
  quality: ConnectionQuality | null = null;
  #pc!: RTCPeerConnection;
  #counters: Counters | null = null;
  #adaptation: Adaptation = { level: LEVEL_MAX, streak: 0 };
  #options: PeerOptions;
  #makingOffer = false;
  #ignoringOffer = false;
  #remoteOrigin: string | undefined;
  #early: RTCIceCandidateInit[] = [];
  /** Sections of the shared screen: its picture, and its sound if it has one. */
  #screenSenders: RTCRtpTransceiver[] = [];
  #restarts = 0;
  #stall: ReturnType<typeof setTimeout> | undefined;
  #stallTimeout = STALL_TIMEOUT_MS;
  #interruption: ReturnType<typeof setTimeout> | undefined;
  #incoming: Promise<void> = Promise.resolve();

  constructor(options: PeerOptions) {
    super();
    this.#options = options;
    this.peerId = options.peerId;
    this.polite = options.selfId < options.peerId;
    this.#open();
  }

  get connectionState(): RTCPeerConnectionState {
    return this.#pc.connectionState;
  }

  /** Loudness of the participant's microphone at this moment, from 0 to 1. */
  get audioLevel(): number {
    return this.#sections().audio?.receiver.getSynchronizationSources()[0]?.audioLevel ?? 0;
  }

  /**
   * Handles `webrtc:offer` and `webrtc:answer`, in order: each depends on the state after the last.
   */
  receiveDescription(description: RTCSessionDescriptionInit): void {
    this.#enqueue(() => this.#applyDescription(description));
  }

  receiveCandidate(candidate: RTCIceCandidateInit): void {
    this.#enqueue(() => this.#applyCandidate(candidate));
  }

  /**
   * Handles `webrtc:renegotiation-needed`: the polite peer asks the impolite one to start over. A
   * peer whose first offer is not answered has started over a moment ago. If it did so once more,
   * the answer to that offer would be taken for an answer to the next one.
   */
  receiveStartOver(): void {
    if (!this.polite && this.#pc.remoteDescription) this.#startOver();
  }

  /** Sends the current local media. Only starting or stopping a screen needs a negotiation. */
  updateMedia(): void {
    const { local } = this.#options;
    const { audio, video } = this.#sections();
    void audio?.sender.replaceTrack(local.audioTrack);
    void video?.sender.replaceTrack(local.videoTrack);
    const screen = local.screen?.getVideoTracks()[0] ?? null;
    // Before the first description a screen would take the place of the camera.
    if (!video || (this.#screenSenders[0]?.sender.track ?? null) === screen) return;
    for (const transceiver of this.#screenSenders) transceiver.stop();
    // The sound of a screen has a section of its own.
    this.#screenSenders = (screen ? [screen, ...local.screen!.getAudioTracks()] : []).map((track) =>
      this.#pc.addTransceiver(track, { direction: "sendonly", streams: [local.screen!] }),
    );
    this.limit();
  }

  /** Bounds the media sent, by the number of participants and the level of this connection. */
  limit(): void {
    const { participants, videoMax, local } = this.#options;
    const plan = planMedia({
      participants: participants(),
      level: this.#adaptation.level,
      height: local.videoTrack?.getSettings().height,
      videoMax,
    });
    const { audio, video } = this.#sections();
    void bound(audio, { ...plan.audio, priority: "high", networkPriority: "high" });
    void bound(video, plan.camera, "balanced");
    const [screen, sound] = this.#screenSenders;
    void bound(screen, plan.screen, sound ? "maintain-framerate" : "maintain-resolution");
    void bound(sound, { priority: "high", networkPriority: "high" });
  }

  /** Measures the quality since the last call, and adapts the media sent. */
  async measure(): Promise<void> {
    const pc = this.#pc;
    if (pc.connectionState !== "connected") return;
    const counters = countersOf((await statsOf(pc)).values(), performance.timeOrigin + performance.now());
    // The connection may have been replaced meanwhile.
    if (pc !== this.#pc) return;
    const before = this.#counters;
    this.#counters = counters;
    if (!before) return;
    const former = this.quality?.quality;
    this.quality = measure(counters, before);
    // Losses on the way here are for the other page to reduce.
    this.#adaptation = adapt(this.#adaptation, grade(counters.rtt, counters.lossOut));
    this.limit();
    if (this.quality.quality !== former) this.emit("quality");
  }

  /**
   * Uses new ICE servers at the next ICE restart. A relayed connection restarts now: its relay has
   * the old TURN credentials, which are about to expire.
   */
  async useIceServers(): Promise<void> {
    const pc = this.#pc;
    pc.setConfiguration({ ...pc.getConfiguration(), iceServers: this.#options.iceServers() });
    if (await isRelayed(pc)) pc.restartIce();
  }

  /**
   * Finds new paths for the media, which go on along the old one meanwhile.
   * @param options.always restarts a connection that seems to be good as well
   */
  restartIce({ always = true } = {}): void {
    // A first negotiation is still under way.
    if (!this.#pc.remoteDescription) return;
    if (always || this.#pc.connectionState !== "connected") this.#pc.restartIce();
  }

  /** Sums of the inbound and outbound RTP statistics. */
  async stats(): Promise<PeerStats> {
    const sums: PeerStats = { framesDecoded: 0, framesSent: 0, bytesReceived: 0, bytesSent: 0 };
    for (const report of (await statsOf(this.#pc)).values()) {
      if (!report.type.endsWith("bound-rtp")) continue;
      for (const key of Object.keys(sums) as (keyof PeerStats)[]) sums[key] += report[key] ?? 0;
    }
    return sums;
  }

  close(): void {
    clearTimeout(this.#stall);
    clearTimeout(this.#interruption);
    this.#pc.close();
  }

  #open(): void {
    const { signal, local, iceServers } = this.#options;
    const pc = new RTCPeerConnection({ iceServers: iceServers() });
    this.#pc = pc;
    this.#makingOffer = this.#ignoringOffer = false;
    this.#remoteOrigin = undefined;
    this.#screenSenders = [];
    this.#counters = null;
    this.#early = [];
    this.streams = { camera: new MediaStream(), screen: null };
    pc.addEventListener("negotiationneeded", () => this.#offer(pc));
    pc.addEventListener("icecandidate", ({ candidate }) => candidate && signal("webrtc:ice-candidate", { candidate }));
    pc.addEventListener("connectionstatechange", () => this.#connectionChanged(pc));
    pc.addEventListener("track", (event) => this.#trackAdded(event));
    if (!this.polite) {
      for (const kind of ["audio", "video"]) pc.addTransceiver(kind, { streams: [local.stream] });
      this.updateMedia();
    }
    this.#watchForStall();
    this.#changed();
  }

  /** The sections of microphone and camera: the first of each kind. Further ones are screens. */
  #sections(): Partial<Record<string, RTCRtpTransceiver>> {
    const all = this.#pc.getTransceivers();
    const first = (kind: string) => all.find(({ receiver }) => receiver.track.kind === kind);
    return { audio: first("audio"), video: first("video") };
  }

  async #offer(pc: RTCPeerConnection): Promise<void> {
    try {
      this.#makingOffer = true;
      await pc.setLocalDescription();
      // After a collision in the meantime the local description may be an answer or absent.
      const isOffer = pc === this.#pc && pc.localDescription?.type === "offer";
      if (isOffer) this.#options.signal("webrtc:offer", { offer: pc.localDescription });
    } catch (error) {
      console.debug("offer not made", (error as Error).name);
    } finally {
      // The connection may have been replaced meanwhile, by one that makes its own offer.
      if (pc === this.#pc) this.#makingOffer = false;
    }
  }

  async #applyDescription(description: RTCSessionDescriptionInit): Promise<void> {
    const origin = originOf(description);
    const isOther = this.#remoteOrigin !== undefined && origin !== this.#remoteOrigin;
    if (description.type === "offer") {
      if (this.polite && isOther) this.#reopen();
      const collision = this.#makingOffer || this.#pc.signalingState !== "stable";
      this.#ignoringOffer = !this.polite && collision;
      if (this.#ignoringOffer) return;
    } else if (isOther && this.#pc.signalingState === "stable" && this.#pc.connectionState !== "connected") {
      // The answer before came late and belonged to a replaced connection. This is the right one.
      return this.#askToStartOver();
    }
    const pc = this.#pc;
    try {
      await pc.setRemoteDescription(description);
      for (const candidate of this.#early.splice(0)) await this.#applyCandidate(candidate);
      const isFirst = this.#remoteOrigin === undefined;
      this.#remoteOrigin = origin;
      if (description.type !== "offer") return;
      if (isFirst) this.#adoptFirstOffer();
      await pc.setLocalDescription();
      this.#options.signal("webrtc:answer", { answer: pc.localDescription });
    } catch (error) {
      // An answer that cannot be applied is a repeated one, and harmless. An offer that cannot be
      // applied means that the two peers disagree, and only a new connection resolves that.
      console.debug("description not applicable", description.type, (error as Error).name);
      if (description.type === "offer" && pc === this.#pc) this.#askToStartOver();
    }
  }

  /**
   * Adds a candidate. Signals are in flight together, so that one that was repeated can come after
   * its candidates: these wait for the next description.
   */
  async #applyCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    try {
      await this.#pc.addIceCandidate(candidate);
    } catch {
      // Or it belongs to an offer ignored in a collision, or to a replaced connection.
      if (this.#ignoringOffer) return;
      this.#early.push(candidate);
      // The oldest are the likeliest to be of a connection that is gone.
      if (this.#early.length > EARLY_CANDIDATES_MAX) this.#early.shift();
    }
  }

  /** Sends microphone and camera on the sections that the first offer created. */
  #adoptFirstOffer(): void {
    const { local } = this.#options;
    for (const transceiver of Object.values(this.#sections())) {
      if (!transceiver) continue;
      transceiver.direction = "sendrecv";
      transceiver.sender.setStreams(local.stream);
    }
    this.updateMedia();
  }

  #trackAdded({ transceiver, track }: RTCTrackEvent): void {
    const { audio, video } = this.#sections();
    if (transceiver === audio || transceiver === video) {
      this.streams.camera.addTrack(track);
    } else {
      const { streams } = this;
      const screen = streams.screen ?? new MediaStream();
      screen.addTrack(track);
      streams.screen = screen;
      track.addEventListener("ended", () => {
        screen.removeTrack(track);
        if (streams.screen === screen && screen.getTracks().length === 0) streams.screen = null;
        this.#changed();
      });
    }
    this.#changed();
  }

  #connectionChanged(pc: RTCPeerConnection): void {
    if (pc !== this.#pc) return;
    clearTimeout(this.#interruption);
    if (pc.connectionState === "connected") {
      this.#restarts = 0;
      this.#stallTimeout = STALL_TIMEOUT_MS;
      clearTimeout(this.#stall);
      this.limit();
    } else if (pc.connectionState === "disconnected") {
      const milliseconds = DISCONNECTED_MS[this.polite ? "polite" : "impolite"];
      this.#interruption = setTimeout(() => pc.restartIce(), milliseconds);
    } else if (pc.connectionState === "failed") {
      this.#restarts += 1;
      if (this.#restarts <= ICE_RESTARTS) pc.restartIce();
      else this.#askToStartOver();
    }
    this.#changed();
  }

  #askToStartOver(): void {
    if (this.polite) this.#options.signal("webrtc:renegotiation-needed", {});
    else this.#startOver();
  }

  #startOver(): void {
    this.#restarts = 0;
    this.#reopen();
  }

  #reopen(): void {
    this.close();
    this.#open();
  }

  /**
   * Starts over when the connection is not established in time. No event reports a stalled
   * negotiation. The time doubles with each attempt, up to STALL_TIMEOUT_MAX_MS.
   */
  #watchForStall(): void {
    clearTimeout(this.#stall);
    this.#stall = setTimeout(() => {
      if (["connected", "closed"].includes(this.#pc.connectionState)) return;
      this.#stallTimeout = Math.min(this.#stallTimeout * 2, STALL_TIMEOUT_MAX_MS);
      this.#askToStartOver();
      this.#watchForStall();
    }, this.#stallTimeout);
  }

  #enqueue(step: () => Promise<void>): void {
    this.#incoming = this.#incoming.then(step);
  }

  #changed(): void {
    this.emit("change");
  }
}

// TypeScript's type of a report has no methods of a map.
const statsOf = async (pc: RTCPeerConnection) => (await pc.getStats()) as unknown as Map<string, any>;

/** Sets the bounds of a section's only encoding. Sections without one are not negotiated yet. */
async function bound(
  section: RTCRtpTransceiver | undefined,
  bounds: Partial<VideoBounds> & Pick<RTCRtpEncodingParameters, "priority" | "networkPriority">,
  degradationPreference?: RTCDegradationPreference,
): Promise<void> {
  const parameters = section?.sender.getParameters();
  const encoding = parameters?.encodings?.[0];
  if (!encoding || Object.entries(bounds).every(([name, value]) => encoding[name as keyof typeof bounds] === value)) return;
  Object.assign(encoding, bounds);
  if (degradationPreference) parameters.degradationPreference = degradationPreference;
  // A connection that was closed meanwhile needs no bounds, and another attempt follows soon.
  await section!.sender.setParameters(parameters).catch(() => {});
}

/** Returns whether this page's media go through TURN. */
async function isRelayed(pc: RTCPeerConnection): Promise<boolean> {
  if (pc.connectionState !== "connected") return false;
  const reports = await statsOf(pc);
  return [...reports.values()].some(
    ({ type, nominated, state, localCandidateId }) =>
      type === "candidate-pair" &&
      nominated &&
      state === "succeeded" &&
      reports.get(localCandidateId)?.candidateType === "relay",
  );
}
