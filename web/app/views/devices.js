// Camera preview, and the switches of microphone and camera.
import { h, icon, setIcon } from "../dom.js";
import { deviceSentence, sentence } from "../sentences.js";
import { toast } from "./toasts.js";

const LABELS = { audio: "microphone", video: "camera" };

/**
 * Creates the camera preview with both device switches. The user joins with these choices. The
 * devices are opened by `start`.
 * @param {import("../../vendor/switchboard.js").LocalMedia} local
 */
export function devicePreview(local) {
  const video = h("video", {
    autoplay: true,
    playsinline: true,
    class: "mirrored",
    "aria-label": "Your camera",
  });
  video.muted = true;
  const off = h("p", { class: "preview-off" }, "Your camera is off");
  const help = h("p", { class: "preview-help", role: "status", hidden: true });
  const microphone = deviceSwitch("audio", "mic", () => local.setAudio(!local.state.audioEnabled));
  const camera = deviceSwitch("video", "camera", () => local.setVideo(!local.state.videoEnabled));
  const listeners = new AbortController();
  const { signal } = listeners;
  const render = () => {
    const { audioEnabled, videoEnabled } = local.state;
    microphone.set(audioEnabled);
    camera.set(videoEnabled);
    off.hidden = videoEnabled;
    video.hidden = !videoEnabled;
    if (audioEnabled && videoEnabled) help.hidden = true;
    // A video element whose stream has no picture keeps the page in the loading state.
    const stream = videoEnabled ? local.stream : null;
    if (video.srcObject !== stream) video.srcObject = stream;
  };
  local.on("change", render, { signal });
  render();
  let started = false;
  let kept = false;
  return {
    element: h(
      "section",
      { class: "preview-box", "aria-label": "How you will appear" },
      h("div", { class: "preview" }, video, off, h("div", { class: "preview-bar" }, microphone.element, camera.element)),
      help,
    ),
    /** Opens the devices once, and says how to allow those that the browser refuses. */
    async start() {
      if (started) return;
      started = true;
      const errors = Object.entries(await local.start());
      // The user may have gone on meanwhile.
      if (signal.aborted && !kept) return local.stop();
      help.hidden = errors.length === 0;
      const kinds = errors.map(([kind]) => LABELS[kind]).join(" and ");
      const codes = new Set(errors.map(([, { code }]) => code));
      const causes = errors.map(([kind, error]) => (codes.size > 1 ? deviceSentence(kind, error) : sentence(error)));
      // The same cause is told once.
      help.textContent = [`You can join without ${kinds}.`, ...new Set(causes)].join(" ");
    },
    keep: () => (kept = true),
    closed: () => {
      listeners.abort();
      if (!kept) local.stop();
    },
  };
}

/**
 * Creates a round on/off button for a device.
 * @param {"audio" | "video"} kind
 * @param {() => Promise<void>} toggle rejects with the error of the device
 */
export function deviceSwitch(kind, symbol, toggle) {
  const label = LABELS[kind];
  const picture = icon(symbol);
  let busy = false;
  let forbidden = null;
  const element = h(
    "button",
    {
      type: "button",
      class: "round",
      onclick: async () => {
        // Does not set `disabled`, because that would remove the keyboard focus.
        if (busy) return;
        if (forbidden) return toast(`${forbidden}.`);
        busy = true;
        await toggle().catch((error) => toast(deviceSentence(kind, error), "error"));
        busy = false;
      },
    },
    picture,
  );
  return {
    element,
    /**
     * Shows whether the device is on. `reason` tells why the user may not turn it on, or is null.
     */
    set(on, reason = null) {
      forbidden = on ? null : reason;
      setIcon(picture, on ? symbol : `${symbol}-off`);
      element.setAttribute("aria-label", forbidden ?? `${on ? "Turn off" : "Turn on"} ${label}`);
      element.setAttribute("aria-disabled", forbidden !== null);
      element.classList.toggle("is-off", !on);
      element.title = element.getAttribute("aria-label");
    },
  };
}
