// This browser's camera, microphone and screen.
import { Emitter } from "./emitter.js";
import { SwitchboardError } from "./errors.js";
import type { MediaState } from "./types.js";

const CAMERA: MediaTrackConstraints = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const MICROPHONE: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const SCREEN: DisplayMediaStreamOptions = { video: { frameRate: { ideal: 15 } }, audio: true };

export type DeviceKind = "audio" | "video";

/** Codes of the errors by which browsers refuse a device. All others mean that it is in use. */
const CODES: Record<string, string> = {
  NotAllowedError: "DEVICE_DENIED",
  SecurityError: "DEVICE_DENIED",
  NotFoundError: "DEVICE_MISSING",
  OverconstrainedError: "DEVICE_MISSING",
};

function deviceError(error: unknown): SwitchboardError {
  const { name, message } = error as Error;
  return new SwitchboardError({ code: CODES[name] ?? "DEVICE_BUSY", message });
}

/** Returns the browser's devices. @throws {SwitchboardError} `INSECURE_ORIGIN` where it has none */
function mediaDevices(): MediaDevices {
  // Browsers hide them from pages over plain http.
  if (!navigator.mediaDevices) throw new SwitchboardError({ code: "INSECURE_ORIGIN" });
  return navigator.mediaDevices;
}

/**
 * Local media. Emits `change` when a track is added, removed or muted, and `ended` with the track
 * when a device was disconnected or its permission withdrawn. A muted microphone keeps its track. A
 * camera that is turned off is released, so that its light goes out.
 */
export class LocalMedia extends Emitter<{ change: []; ended: [DeviceKind, MediaStreamTrack] }> {
  /** Camera and microphone: shown to the user and sent to the others. */
  readonly stream = new MediaStream();
  /** Captured screen, or null. */
  screen: MediaStream | null = null;
  /** The device to use for each kind; undefined leaves the choice to the browser. */
  #chosen: Record<DeviceKind, string | undefined> = { audio: undefined, video: undefined };
  /** Number of calls of `stop`. A device that opens after such a call is released. */
  #stops = 0;
  /** How often each kind was switched off. A device that opens after that is released, too. */
  #offs: Record<DeviceKind, number> = { audio: 0, video: 0 };

  get audioTrack(): MediaStreamTrack | null {
    return this.stream.getAudioTracks()[0] ?? null;
  }

  get videoTrack(): MediaStreamTrack | null {
    return this.stream.getVideoTracks()[0] ?? null;
  }

  /** Media state in the format of `participant:update-media-state`. */
  get state(): MediaState {
    return {
      audioEnabled: this.audioTrack?.enabled ?? false,
      videoEnabled: this.videoTrack !== null,
      screenShareEnabled: this.screen !== null,
    };
  }

  /**
   * Opens the requested devices. Never fails: resolves with the error of each device that could not
   * be opened, and a call goes on without it.
   */
  async start({ audio = true, video = true } = {}): Promise<Partial<Record<DeviceKind, SwitchboardError>>> {
    const errors: Partial<Record<DeviceKind, SwitchboardError>> = {};
    const open = (kind: DeviceKind) => this.#open(kind).catch((error) => void (errors[kind] = error));
    const [stops, offs] = [this.#stops, this.#offs.video];
    if (audio && !this.audioTrack) await open("audio");
    if (video && !this.videoTrack && stops === this.#stops && offs === this.#offs.video) await open("video");
    this.#changed();
    return errors;
  }

  /**
   * Turns the microphone on or off.
   * @throws {SwitchboardError} `DEVICE_DENIED`, `DEVICE_MISSING`, `DEVICE_BUSY`, `INSECURE_ORIGIN`
   */
  async setAudio(enabled: boolean): Promise<void> {
    if (!enabled) this.#offs.audio += 1;
    if (enabled && !this.audioTrack) await this.#open("audio");
    else if (this.audioTrack) this.audioTrack.enabled = enabled;
    this.#changed();
  }

  /** Turns the camera on or off. @throws {SwitchboardError} as `setAudio` */
  async setVideo(enabled: boolean): Promise<void> {
    if (!enabled) this.#offs.video += 1;
    if (enabled && !this.videoTrack) await this.#open("video");
    if (!enabled) this.#drop(this.videoTrack);
    this.#changed();
  }

  /** Lists microphones and cameras. Browsers tell their names once one of them was opened. */
  async devices(): Promise<MediaDeviceInfo[]> {
    return mediaDevices().enumerateDevices();
  }

  /**
   * Uses this device from now on, at once if one of its kind is open. While it is not connected,
   * the browser chooses another one.
   * @throws {SwitchboardError} as `setAudio`
   */
  async useDevice(kind: DeviceKind, deviceId: string): Promise<void> {
    this.#chosen[kind] = deviceId;
    const track = kind === "audio" ? this.audioTrack : this.videoTrack;
    if (!track) return;
    const { enabled } = track;
    this.#drop(track);
    try {
      await this.#open(kind);
      if (this.audioTrack && kind === "audio") this.audioTrack.enabled = enabled;
    } finally {
      this.#changed();
    }
  }

  /** Shares a screen that the user chooses. @throws {SwitchboardError} `DEVICE_DENIED` on cancel */
  async startScreen(): Promise<void> {
    const devices = mediaDevices();
    const stops = this.#stops;
    const screen = await devices.getDisplayMedia(SCREEN).catch((error) => {
      throw deviceError(error);
    });
    if (stops !== this.#stops) return screen.getTracks().forEach((track) => track.stop());
    this.stopScreen();
    this.screen = screen;
    // A screen with sound is mostly a film. All others are texts, whose letters must stay sharp.
    for (const track of screen.getVideoTracks()) track.contentHint = screen.getAudioTracks().length > 0 ? "motion" : "detail";
    // The browser's own "stop sharing" button ends the track without another event.
    screen.getVideoTracks()[0]?.addEventListener("ended", () => this.screen === screen && this.stopScreen());
    this.#changed();
  }

  stopScreen(): void {
    if (!this.screen) return;
    for (const track of this.screen.getTracks()) track.stop();
    this.screen = null;
    this.#changed();
  }

  /** Switches off these media, also those that are being opened. */
  withdraw(fields: readonly (keyof MediaState)[]): void {
    const { state } = this;
    for (const [kind, field] of [["audio", "audioEnabled"], ["video", "videoEnabled"]] as const) {
      if (!fields.includes(field)) continue;
      this.#offs[kind] += 1;
      if (state[field]) void (kind === "audio" ? this.setAudio(false) : this.setVideo(false));
    }
    if (fields.includes("screenShareEnabled")) this.stopScreen();
  }

  /** Releases every device. */
  stop(): void {
    this.#stops += 1;
    this.stopScreen();
    for (const track of this.stream.getTracks()) this.#drop(track);
    this.#changed();
  }

  async #open(kind: DeviceKind): Promise<void> {
    const chosen = this.#chosen[kind];
    const [stops, offs] = [this.#stops, this.#offs[kind]];
    const wanted = kind === "audio" ? MICROPHONE : CAMERA;
    const devices = mediaDevices();
    // With `ideal` in place of `exact`, Chromium opens its default microphone.
    const opened = await devices
      .getUserMedia({ [kind]: { ...wanted, ...(chosen && { deviceId: { exact: chosen } }) } })
      .catch((error: Error) => {
        // The chosen device is not connected.
        if (chosen && error.name === "OverconstrainedError") return devices.getUserMedia({ [kind]: wanted });
        throw error;
      })
      .catch((error) => {
        throw deviceError(error);
      });
    const release = () => opened.getTracks().forEach((track) => track.stop());
    // The media were released or switched off meanwhile, or another request was faster.
    const isUnwanted = stops !== this.#stops || offs !== this.#offs[kind];
    if (isUnwanted || (kind === "audio" ? this.audioTrack : this.videoTrack)) return release();
    // Another device was chosen meanwhile.
    if (chosen !== this.#chosen[kind]) {
      release();
      return this.#open(kind);
    }
    for (const track of opened.getTracks()) {
      this.stream.addTrack(track);
      track.addEventListener("ended", () => {
        this.#drop(track);
        this.#changed();
        this.emit("ended", kind, track);
      });
    }
  }

  #drop(track: MediaStreamTrack | null): void {
    if (!track) return;
    track.stop();
    this.stream.removeTrack(track);
  }

  #changed(): void {
    this.emit("change");
  }
}
