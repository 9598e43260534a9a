// Bar of buttons under the call.
import { h, icon } from "../dom.js";
import { confirm } from "./dialogs.js";
import { deviceSwitch } from "./devices.js";
import { toastError } from "./toasts.js";

/**
 * @param {{room: import("../../vendor/switchboard.js").Room,
 *   local: import("../../vendor/switchboard.js").LocalMedia,
 *   togglePanel: (name: "people" | "chat") => void}} context
 */
export function controls({ room, local, togglePanel }) {
  const { chat } = room;
  const microphone = deviceSwitch("audio", "mic", () => local.setAudio(!local.state.audioEnabled));
  const camera = deviceSwitch("video", "camera", () => local.setVideo(!local.state.videoEnabled));
  const screen = button("screen", "Share screen", () => shareScreen(local));
  const canShare = Boolean(navigator.mediaDevices?.getDisplayMedia);

  const count = h("span", { class: "badge", "aria-hidden": "true" });
  const asking = h("span", { class: "badge badge-alert", "aria-hidden": "true", hidden: true });
  const unread = h("span", { class: "badge badge-alert", "aria-hidden": "true", hidden: true });
  const people = button("people", "People", () => togglePanel("people"), count, asking);
  const talk = button("chat", "Chat", () => togglePanel("chat"), unread);

  const leave = h(
    "button",
    { type: "button", class: "hang-up", onclick: () => room.leave() },
    icon("leave"),
    h("span", {}, "Leave"),
  );
  const end = h(
    "button",
    { type: "button", class: "hang-up outline", hidden: true, onclick: () => askToEnd(room) },
    "End for all",
  );

  return {
    element: h(
      "nav",
      { class: "controls", "aria-label": "Call controls" },
      h("div", { class: "group" }, microphone.element, camera.element, canShare && screen),
      h("div", { class: "group" }, people, talk),
      h("div", { class: "group" }, end, leave),
    ),
    render() {
      const { audioEnabled, videoEnabled, screenShareEnabled } = local.state;
      microphone.set(audioEnabled, room.allows("audioEnabled") ? null : "Microphones are off in this call");
      camera.set(videoEnabled, room.allows("videoEnabled") ? null : "Cameras are off in this call");
      screen.hidden = !screenShareEnabled && !room.allows("screenShareEnabled");
      name(screen, screenShareEnabled ? "Stop sharing" : "Share screen");
      screen.setAttribute("aria-pressed", screenShareEnabled);
      count.textContent = room.participants.size || "";
      const { size } = room.waiting;
      count.hidden = size > 0;
      asking.hidden = size === 0;
      asking.textContent = size;
      name(people, `People, ${room.participants.size} in the call${size ? `, ${size} waiting` : ""}`);
      unread.hidden = chat.unread === 0;
      unread.textContent = chat.unread > 99 ? "99+" : chat.unread;
      name(talk, chat.unread ? `Chat, ${chat.unread} unread` : "Chat");
      end.hidden = !room.isHost;
    },
    /** Focuses the button of a panel. */
    focus: (name) => ({ people, chat: talk })[name].focus(),
    setPanel(open) {
      people.setAttribute("aria-expanded", open === "people");
      talk.setAttribute("aria-expanded", open === "chat");
    },
  };
}

async function shareScreen(local) {
  if (local.screen) return local.stopScreen();
  try {
    await local.startScreen();
  } catch (error) {
    // A user who closes the browser's dialog needs no notice.
    if (error.code !== "DEVICE_DENIED") toastError(error);
  }
}

function button(symbol, label, onclick, ...extra) {
  const element = h("button", { type: "button", class: "round", onclick }, icon(symbol), ...extra);
  name(element, label);
  return element;
}

function name(element, label) {
  element.setAttribute("aria-label", label);
  element.title = label;
}

/** Asks for confirmation before ending the call, because that cannot be undone. */
function askToEnd(room) {
  confirm({
    title: "End the call for everyone?",
    text: "No one can return to it afterwards.",
    no: "Cancel",
    yes: "End the call",
    act: () => room.endForAll(),
  });
}
