// Camera preview, the switches of microphone and camera, and the choice of devices.
import { h, icon, setIcon, setLabel, switchRow } from "../dom.js";
import { levelOf } from "../audio.js";
import { t } from "../language.js";
import { prefer, preference } from "../preferences.js";
import { deviceSentence, deviceTitle, sentence } from "../sentences.js";
import { useSpeaker } from "./tile.js";
import { announce, toast } from "./toasts.js";

const LABELS = { audio: "microphone", video: "camera" };
const STATES = { audio: ["microphoneOn", "microphoneOff"], video: ["cameraIsOn", "cameraIsOff"] };
const INPUTS = { audio: "audioinput", video: "videoinput", speaker: "audiooutput" };
const METER_INTERVAL_MS = 100;
/** Shortest time between two replacements of a device. One that ends sooner stays off. */
const REPLACEMENT_INTERVAL_MS = 10_000;

/**
 * Uses the devices that the user has chosen before. Replaces a device that is disconnected by
 * another one of its kind, or says that it is off.
 * @param {import("../../vendor/switchboard.js").LocalMedia} local
 */
export function manageDevices(local) {
  for (const kind of ["audio", "video"]) local.useDevice(kind, preference(kind, ""));
  const replacedAt = {};
  local.on("ended", async (kind, { enabled }) => {
    const device = deviceTitle(kind);
    // A device that ends whenever it was opened would be opened again and again.
    const isRepeated = performance.now() - replacedAt[kind] < REPLACEMENT_INTERVAL_MS;
    // Nobody wants to be heard because a muted microphone was unplugged.
    if (!enabled || isRepeated) return toast(t("deviceLost", { device }));
    replacedAt[kind] = performance.now();
    try {
      await (kind === "audio" ? local.setAudio(true) : local.setVideo(true));
      const { label } = kind === "audio" ? local.audioTrack : local.videoTrack;
      toast(t("deviceReplaced", { device, label }));
    } catch {
      toast(t("deviceLost", { device }), "error");
    }
  });
  let blurred = null;
  local.on("change", () => {
    const { videoTrack } = local;
    if (videoTrack === blurred) return;
    blurred = videoTrack;
    if (canBlur(videoTrack) && preference("blur", false)) setBlur(videoTrack, true);
  });
}

/** Whether the browser itself can blur the background of this camera. */
const canBlur = (track) => (track?.getCapabilities?.().backgroundBlur ?? []).length > 1;
const setBlur = (track, on) => track.applyConstraints({ backgroundBlur: on }).catch(() => {});

/** Creates a meter of the microphone. `close` ends the measurement. */
function levelMeter(local) {
  const level = levelOf(local);
  const element = h("meter", { class: "level", min: 0, max: 1, value: 0, "aria-label": t("level") });
  const timer = setInterval(() => (element.value = level.read()), METER_INTERVAL_MS);
  return {
    element,
    close() {
      clearInterval(timer);
      level.close();
    },
  };
}

/**
 * Creates the lists of microphones, cameras and speakers, with the level of the microphone. They
 * follow the devices that are connected and disconnected. `close` ends that.
 * @param {import("../../vendor/switchboard.js").LocalMedia} local
 */
export function devicePicker(local) {
  const listeners = new AbortController();
  const { signal } = listeners;
  const meter = levelMeter(local);
  const kinds = ["audio", "video", ...("setSinkId" in HTMLMediaElement.prototype ? ["speaker"] : [])];
  const selects = Object.fromEntries(
    kinds.map((kind) => [kind, h("select", { id: `device-${kind}`, onchange: ({ target }) => choose(kind, target.value) })]),
  );
  const blur = switchRow(t("blur"), {
    onchange: ({ target }) => {
      prefer("blur", target.checked);
      setBlur(local.videoTrack, target.checked);
    },
  });

  async function choose(kind, id) {
    prefer(kind, id);
    if (kind === "speaker") return document.querySelectorAll(".tile:not(.is-own) video").forEach(useSpeaker);
    await local.useDevice(kind, id).catch((error) => toast(deviceSentence(kind, error), "error"));
  }

  async function render() {
    blur.row.hidden = !canBlur(local.videoTrack);
    blur.input.checked = local.videoTrack?.getSettings().backgroundBlur ?? false;
    const devices = await local.devices().catch(() => []);
    const used = { audio: local.audioTrack, video: local.videoTrack };
    for (const kind of kinds) {
      // Before the first permission the browser tells no ids, and there is nothing to choose.
      const known = devices.filter((device) => device.kind === INPUTS[kind] && device.deviceId);
      const options = known.map(({ deviceId, label }, index) =>
        h("option", { value: deviceId }, label || t("numbered", { kind: deviceTitle(kind), number: index + 1 })),
      );
      const wanted = used[kind]?.getSettings().deviceId ?? preference(kind, "");
      selects[kind].replaceChildren(h("option", { value: "" }, t("automatic")), ...options);
      selects[kind].value = known.some(({ deviceId }) => deviceId === wanted) ? wanted : "";
    }
  }

  navigator.mediaDevices?.addEventListener("devicechange", render, { signal });
  local.on("change", render, { signal });
  render();
  const row = (kind) =>
    h("div", { class: "field" }, h("label", { for: `device-${kind}` }, deviceTitle(kind)), selects[kind], kind === "audio" && meter.element);
  return {
    element: h("div", { class: "device-picker" }, kinds.map(row), blur.row),
    close() {
      listeners.abort();
      meter.close();
    },
  };
}

/**
 * Creates the camera preview with both device switches and the choice of devices. The user joins
 * with these choices. The devices are opened by `start`.
 * @param {import("../../vendor/switchboard.js").LocalMedia} local
 */
export function devicePreview(local) {
  const video = h("video", {
    autoplay: true,
    playsinline: true,
    class: "mirrored",
    "aria-label": t("yourCamera"),
  });
  video.muted = true;
  const off = h("p", { class: "preview-off" }, t("cameraOff"));
  const help = h("p", { class: "preview-help", role: "status", hidden: true });
  const microphone = deviceSwitch("audio", "mic", () => local.setAudio(!local.state.audioEnabled));
  const camera = deviceSwitch("video", "camera", () => local.setVideo(!local.state.videoEnabled));
  const picker = devicePicker(local);
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
      { class: "preview-box", "aria-label": t("howYouAppear") },
      h("div", { class: "preview" }, video, off, h("div", { class: "preview-bar" }, microphone.element, camera.element)),
      help,
      h("details", { class: "more" }, h("summary", {}, t("chooseDevices")), picker.element),
    ),
    /** Opens the devices once, and says how to allow those that the browser refuses. */
    async start() {
      if (started) return;
      started = true;
      const errors = Object.entries(await local.start());
      // The user has gone on meanwhile. The devices were released with the view.
      if (signal.aborted && !kept) return;
      help.hidden = errors.length === 0;
      const devices = errors.map(([kind]) => t(LABELS[kind])).join(t("and"));
      const codes = new Set(errors.map(([, { code }]) => code));
      const causes = errors.map(([kind, error]) => (codes.size > 1 ? deviceSentence(kind, error) : sentence(error)));
      // The same cause is told once.
      help.textContent = [t("joinWithout", { devices }), ...new Set(causes)].join(" ");
    },
    keep: () => (kept = true),
    closed: () => {
      listeners.abort();
      picker.close();
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
  const device = t(LABELS[kind]);
  const picture = icon(symbol);
  let busy = false;
  let forbidden = null;
  let shown = null;
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
      // Screen readers tell the change themselves while the button has the focus.
      if (shown !== null && shown !== on && document.activeElement !== element) announce(t(STATES[kind][on ? 0 : 1]));
      shown = on;
      forbidden = on ? null : reason;
      setIcon(picture, on ? symbol : `${symbol}-off`);
      setLabel(element, forbidden ?? t(on ? "turnOff" : "turnOn", { device }));
      element.setAttribute("aria-disabled", forbidden !== null);
      element.classList.toggle("is-off", !on);
    },
  };
}
