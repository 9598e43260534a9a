// Bar of buttons under the call.
import { h, icon, setLabel } from "../dom.js";
import { t } from "../language.js";
import { confirm } from "./dialogs.js";
import { deviceSwitch } from "./devices.js";
import { toastError } from "./toasts.js";

/**
 * @param {{room: import("../../vendor/switchboard.js").Room,
 *   local: import("../../vendor/switchboard.js").LocalMedia,
 *   togglePanel: (name: "people" | "chat") => void, options: () => void}} context
 */
export function controls({ room, local, togglePanel, options }) {
  const { chat } = room;
  const microphone = deviceSwitch("audio", "mic", () => local.setAudio(!local.state.audioEnabled));
  const camera = deviceSwitch("video", "camera", () => local.setVideo(!local.state.videoEnabled));
  const screen = button("screen", t("shareScreen"), () => shareScreen(local));
  const hand = button("hand", t("raiseHand"), () => room.setHand(!room.self?.handRaisedAt).catch(toastError));
  const reactions = reactionList(room);
  const canShare = Boolean(navigator.mediaDevices?.getDisplayMedia);

  const count = h("span", { class: "badge", "aria-hidden": "true" });
  const asking = h("span", { class: "badge badge-alert", "aria-hidden": "true", hidden: true });
  const unread = h("span", { class: "badge badge-alert", "aria-hidden": "true", hidden: true });
  const people = button("people", t("people"), () => togglePanel("people"), count, asking);
  const talk = button("chat", t("chat"), () => togglePanel("chat"), unread);
  const more = button("options", t("options"), options);

  const leave = h(
    "button",
    { type: "button", class: "hang-up", onclick: () => room.leave() },
    icon("leave"),
    h("span", {}, t("leave")),
  );
  const end = h(
    "button",
    { type: "button", class: "hang-up outline", hidden: true, onclick: () => askToEnd(room) },
    t("endForAll"),
  );

  return {
    element: h(
      "nav",
      { class: "controls", "aria-label": t("controls") },
      h("div", { class: "group" }, microphone.element, camera.element, canShare && screen, hand, reactions.button),
      h("div", { class: "group" }, people, talk, more),
      h("div", { class: "group" }, end, leave),
      reactions.list,
    ),
    render() {
      const { audioEnabled, videoEnabled, screenShareEnabled } = local.state;
      microphone.set(audioEnabled, room.allows("audioEnabled") ? null : t("microphonesOff"));
      camera.set(videoEnabled, room.allows("videoEnabled") ? null : t("camerasOff"));
      screen.hidden = !screenShareEnabled && !room.allows("screenShareEnabled");
      setLabel(screen, t(screenShareEnabled ? "stopSharing" : "shareScreen"));
      screen.setAttribute("aria-pressed", screenShareEnabled);
      const raised = Boolean(room.self?.handRaisedAt);
      setLabel(hand, t(raised ? "lowerHand" : "raiseHand"));
      hand.setAttribute("aria-pressed", raised);
      count.textContent = room.participants.size || "";
      const { size } = room.waiting;
      count.hidden = size > 0;
      asking.hidden = size === 0;
      asking.textContent = size;
      setLabel(people, t(size ? "peopleWaiting" : "peopleCount", { count: room.participants.size, waiting: size }));
      unread.hidden = chat.unread === 0;
      unread.textContent = chat.unread > 99 ? "99+" : chat.unread;
      setLabel(talk, t(chat.unread ? "chatUnread" : "chat", { count: chat.unread }));
      end.hidden = !room.isHost;
    },
    toggleMicrophone: () => microphone.element.click(),
    toggleCamera: () => camera.element.click(),
    toggleHand: () => hand.click(),
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
  setLabel(element, label);
  return element;
}

const REACTIONS = {
  "👍": "thumbsUp",
  "❤️": "heart",
  "👏": "applause",
  "😂": "laughter",
  "😮": "surprise",
  "🎉": "celebration",
};

/** Creates the button of the reactions, and their list, which the browser opens and closes. */
function reactionList(room) {
  const list = h(
    "div",
    { id: "reactions", class: "reactions", popover: true, role: "group", "aria-label": t("reactions") },
    Object.entries(REACTIONS).map(([emoji, key]) => {
      const element = h("button", { type: "button", class: "emoji", onclick: () => room.react(emoji).catch(toastError) }, emoji);
      setLabel(element, t(key));
      return element;
    }),
  );
  const opener = button("smile", t("reactions"), () => {});
  opener.setAttribute("popovertarget", "reactions");
  return { button: opener, list };
}

/** Asks for confirmation before ending the call, because that cannot be undone. */
function askToEnd(room) {
  confirm({
    title: t("endTitle"),
    text: t("endText"),
    yes: t("endYes"),
    act: () => room.endForAll(),
  });
}
