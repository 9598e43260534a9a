// This browser's camera, microphone and screen.

const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/**
 * Local media. Dispatches `change` when a track is added, removed or muted. A muted microphone
 * keeps its track. A camera that is turned off is released, so that its light goes out.
 */
export class LocalMedia extends EventTarget {
  /** Camera and microphone: shown in this page's own tile and sent to the peers. */
  stream = new MediaStream();
  /** Captured screen, or null. */
  screen = null;

  get audioTrack() {
    return this.stream.getAudioTracks()[0] ?? null;
  }

  get videoTrack() {
    return this.stream.getVideoTracks()[0] ?? null;
  }

  /** Media state in the format of `participant:update-media-state`. */
  get state() {
    return {
      audioEnabled: this.audioTrack?.enabled ?? false,
      videoEnabled: this.videoTrack !== null,
      screenShareEnabled: this.screen !== null,
    };
  }

  /** Opens the requested devices. Resolves with the names of those that could not be opened. */
  async start({ audio = true, video = true } = {}) {
    const missing = [];
    if (audio && !this.audioTrack && !(await this.#open({ audio: MICROPHONE }))) missing.push("microphone");
    if (video && !this.videoTrack && !(await this.#open({ video: CAMERA }))) missing.push("camera");
    this.#changed();
    return missing;
  }

  /** Mutes or unmutes. Resolves with false when no microphone can be opened. */
  async setAudio(enabled) {
    if (enabled && !this.audioTrack && !(await this.#open({ audio: MICROPHONE }))) return false;
    if (this.audioTrack) this.audioTrack.enabled = enabled;
    this.#changed();
    return true;
  }

  /** Turns the camera on or off. Resolves with false when no camera can be opened. */
  async setVideo(enabled) {
    if (enabled && !this.videoTrack && !(await this.#open({ video: CAMERA }))) return false;
    if (!enabled) this.#drop(this.videoTrack);
    this.#changed();
    return true;
  }

  /** Shares a screen that the user chooses. Resolves with false when the user cancels. */
  async startScreen() {
    try {
      this.screen = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: false });
    } catch {
      return false;
    }
    // The browser's own "stop sharing" button ends the track without another event.
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

  /** Switches off these media, named by the fields of `state`. */
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
      // Permission denied, device busy or missing, or an insecure page: the call continues without
      // it.
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
