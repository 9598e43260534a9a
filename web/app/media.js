// This browser's own camera, microphone and screen.

const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/**
 * Local media. `change` is dispatched whenever a track came or went, or was muted.
 * A muted microphone keeps its track; a camera that is off is released, so that its light goes out.
 */
export class LocalMedia extends EventTarget {
  /** What the own tile shows, and the stream the tracks are announced under. */
  stream = new MediaStream();
  /** The captured screen, or null. */
  screen = null;

  get audioTrack() {
    return this.stream.getAudioTracks()[0] ?? null;
  }

  get videoTrack() {
    return this.stream.getVideoTracks()[0] ?? null;
  }

  /** In the shape of `participant:update-media-state`. */
  get state() {
    return {
      audioEnabled: this.audioTrack?.enabled ?? false,
      videoEnabled: this.videoTrack !== null,
      screenShareEnabled: this.screen !== null,
    };
  }

  /** Opens what is wanted and there is; resolves with the names of the devices that could not be had. */
  async start({ audio = true, video = true } = {}) {
    const missing = [];
    if (audio && !this.audioTrack && !(await this.#open({ audio: MICROPHONE }))) missing.push("microphone");
    if (video && !this.videoTrack && !(await this.#open({ video: CAMERA }))) missing.push("camera");
    this.#changed();
    return missing;
  }

  /** Mutes or unmutes. False when there is no microphone to unmute. */
  async setAudio(enabled) {
    if (enabled && !this.audioTrack && !(await this.#open({ audio: MICROPHONE }))) return false;
    if (this.audioTrack) this.audioTrack.enabled = enabled;
    this.#changed();
    return true;
  }

  /** Turns the camera on or off. False when there is no camera to turn on. */
  async setVideo(enabled) {
    if (enabled && !this.videoTrack && !(await this.#open({ video: CAMERA }))) return false;
    if (!enabled) this.#drop(this.videoTrack);
    this.#changed();
    return true;
  }

  /** Shares a screen of the user's choice. False when the user chose none. */
  async startScreen() {
    try {
      this.screen = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: false });
    } catch {
      return false;
    }
    // The browser's own "stop sharing" button ends the track behind our back.
    this.screen.getVideoTracks()[0].addEventListener("ended", () => this.stopScreen());
    this.#changed();
    return true;
  }

  stopScreen() {
    if (!this.screen) return;
    for (const track of this.screen.getTracks()) track.stop();
    this.screen = null;
    this.#changed();
  }

  /** Switches off what must not be on, by the fields of `state`. */
  withdraw(fields) {
    const { state } = this;
    if (fields.includes("audioEnabled") && state.audioEnabled) this.setAudio(false);
    if (fields.includes("videoEnabled") && state.videoEnabled) this.setVideo(false);
    if (fields.includes("screenShareEnabled")) this.stopScreen();
  }

  /** Releases every device. */
  stop() {
    this.stopScreen();
    for (const track of this.stream.getTracks()) this.#drop(track);
    this.#changed();
  }

  async #open(constraints) {
    try {
      const opened = await navigator.mediaDevices.getUserMedia(constraints);
      for (const track of opened.getTracks()) {
        this.stream.addTrack(track);
        track.addEventListener("ended", () => {
          this.#drop(track);
          this.#changed();
        });
      }
      return true;
    } catch {
      // Refused by the user, taken by another program, not there, or an insecure page: the call goes on without.
      return false;
    }
  }

  #drop(track) {
    if (!track) return;
    track.stop();
    this.stream.removeTrack(track);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
