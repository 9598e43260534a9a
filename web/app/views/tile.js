// A tile of the stage: one participant, or one shared screen. It keeps its element until it is
// removed, so that other changes never interrupt its video.
import { h, hueOf, icon, initials, setLabel } from "../dom.js";
import { nameOf, t } from "../language.js";
import { preference } from "../preferences.js";

/** Keys of the sentences for the states of a connection. */
export const STATES = {
  connected: "stateConnected",
  connecting: "stateConnecting",
  reconnecting: "stateReconnecting",
  failed: "stateFailed",
};
/** Time for which a reaction is shown. */
const REACTION_MS = 4_000;
const QUALITIES = { good: "qualityGood", fair: "qualityFair", poor: "qualityPoor" };

/** Returns the state of a connection that is not established, or null when it is. */
export function connectionState(participant) {
  if (participant.connectionState === "reconnecting") return "reconnecting";
  const state = participant.connection?.connectionState;
  if (state === "connected" || state === undefined) return null;
  return { disconnected: "reconnecting", failed: "failed", closed: "failed" }[state] ?? "connecting";
}

/** Plays the sound of an element on the speaker that the user has chosen. */
export function useSpeaker(element) {
  // The speaker may be gone. Then the browser's own choice stays.
  element.setSinkId?.(preference("speaker", "")).catch(() => {});
}

/** Shows the element on the whole screen, or ends that. */
export function toggleFullScreen(element) {
  const done = document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen();
  // The browser may forbid it.
  done.catch(() => {});
}

/**
 * @param {import("../../vendor/switchboard.js").Participant} participant
 * @param {{source: "camera" | "screen", pin: () => void}} options
 */
export function makeTile(participant, { source, pin }) {
  const own = participant.isSelf;
  const screen = source === "screen";
  const video = h("video");
  const detach = participant.attach(video, source);
  if (!own) useSpeaker(video);
  const avatar = h("span", { class: "avatar", "aria-hidden": "true" }, initials(nameOf(participant)));
  avatar.style.setProperty("--hue", hueOf(participant.userId ?? participant.peerId));
  const label = h("span", { class: "tile-name" });
  const state = h("span", { class: "tile-state" });
  const marks = [
    h("span", { class: "mark mark-mic" }, icon("mic-off")),
    h("span", { class: "mark mark-camera" }, icon("camera-off")),
  ];
  const hand = h("span", { class: "hand", "aria-hidden": "true", hidden: true }, icon("hand"), h("span"));
  const bars = h("span", { class: "bars", "aria-hidden": "true", hidden: true }, h("i"), h("i"), h("i"));
  const tool = (symbol, onclick) => h("button", { type: "button", class: "tool", onclick }, icon(symbol));
  const tools = {
    pin: tool("pin", pin),
    fullScreen: document.fullscreenEnabled && tool("expand", () => toggleFullScreen(element)),
    picture: document.pictureInPictureEnabled && tool("picture", () => togglePicture(video)),
  };
  const element = h(
    "figure",
    { class: "tile" },
    avatar,
    video,
    state,
    h("figcaption", {}, screen ? null : marks, label, bars),
    hand,
    h("div", { class: "tools" }, Object.values(tools)),
  );
  element.dataset.peer = participant.peerId;
  element.classList.toggle("is-screen", screen);
  element.classList.toggle("is-own", own);

  return {
    element,
    detach,
    showReaction(emoji) {
      const reaction = h("span", { class: "reaction", "aria-hidden": "true" }, emoji);
      element.append(reaction);
      setTimeout(() => reaction.remove(), REACTION_MS);
    },
    /**
     * @param {{speaking: boolean, pinned: boolean, hand: number, videoLimited: boolean}} now
     *   `hand`: place in the order of raised hands, or 0. `videoLimited`: others send no camera
     */
    update({ speaking, pinned, hand: place, videoLimited }) {
      const quality = participant.quality?.quality;
      const { audioEnabled, videoEnabled } = participant.mediaState;
      const name = nameOf(participant);
      const connection = screen ? null : connectionState(participant);
      // The last picture of a camera that is not sent any more would stay.
      video.hidden = !screen && (!videoEnabled || (videoLimited && !own));
      // A video without a picture yet is transparent.
      avatar.hidden = screen;
      const title = screen ? (own ? t("yourScreen") : t("screenOf", { name })) : own ? t("you", { name }) : name;
      label.textContent = title;
      marks[0].hidden = audioEnabled;
      marks[1].hidden = videoEnabled;
      state.hidden = connection === null;
      state.textContent = connection === null ? "" : t(STATES[connection]);
      state.dataset.state = connection ?? "";
      hand.hidden = screen || place === 0;
      hand.lastChild.textContent = place;
      bars.hidden = screen || !quality || connection !== null;
      bars.dataset.quality = quality ?? "";
      bars.title = quality ? t(QUALITIES[quality]) : "";
      element.classList.toggle("is-speaking", speaking && !screen);
      const media = [t(audioEnabled ? "microphoneOn" : "microphoneOff"), t(videoEnabled ? "cameraIsOn" : "cameraIsOff")];
      const facts = [...media, place > 0 && t("handRaised"), connection && state.textContent, !bars.hidden && quality !== "good" && bars.title];
      element.setAttribute("aria-label", [title, ...(screen ? [] : facts)].filter(Boolean).join(", "));
      setLabel(tools.pin, t(pinned ? "unpin" : "pin", { name: title }));
      tools.pin.setAttribute("aria-pressed", pinned);
      if (tools.fullScreen) setLabel(tools.fullScreen, t("fullScreenOf", { name: title }));
      if (!tools.picture) return;
      setLabel(tools.picture, t("pictureInPicture", { name: title }));
      tools.picture.hidden = video.hidden;
    },
    /** @param {{left: number, top: number, width: number, height: number}} place */
    place(place) {
      for (const [side, pixels] of Object.entries(place)) element.style[side] = `${pixels}px`;
    },
  };
}

async function togglePicture(video) {
  try {
    if (document.pictureInPictureElement === video) await document.exitPictureInPicture();
    else await video.requestPictureInPicture();
  } catch {
    // There is no picture yet, or the browser forbids it.
  }
}
