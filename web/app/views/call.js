// Call view: stage, side panel, controls, and a banner for connection problems.
import { playSound } from "../audio.js";
import { h, icon } from "../dom.js";
import { nameOf, t } from "../language.js";
import { prefer, preference } from "../preferences.js";
import { watchSpeakers } from "../speakers.js";
import { keepScreenOn } from "../wake-lock.js";
import { chatPanel } from "./chat.js";
import { controls } from "./controls.js";
import { openInvite } from "./invite.js";
import { listenToShortcuts, openOptions, openShortcuts } from "./options.js";
import { peoplePanel } from "./people.js";
import { stage } from "./stage.js";
import { toggleFullScreen } from "./tile.js";
import { announce, toast } from "./toasts.js";
import { waitingRoom } from "./waiting.js";

/**
 * Returns a function that runs `render` once per turn, however many changes there were. It does not
 * use a frame callback, because that would not run in a hidden tab.
 */
function coalesced(render) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    queueMicrotask(() => {
      due = false;
      render();
    });
  };
}

/**
 * @param {{room: import("../../vendor/switchboard.js").Room,
 *   local: import("../../vendor/switchboard.js").LocalMedia,
 *   spotlight: import("../spotlight.js").Spotlight, title: string, link: string,
 *   since: number}} context `since`: when this page entered, in milliseconds since 1970
 */
export function callView({ room, local, spotlight, title, link, since }) {
  const { chat } = room;
  const listeners = new AbortController();
  const { signal } = listeners;

  const heading = h("h1", {}, title);
  const clock = h("span", { class: "clock", "aria-hidden": "true" });
  const banner = h("div", { class: "banner", role: "status", "aria-live": "assertive", hidden: true });
  const board = stage(room, spotlight);
  const waitingView = waitingRoom({ room, title });
  const writeTo = (peerId) => {
    panel.open("chat");
    panels.chat.writeTo(peerId);
  };
  const panels = { people: peoplePanel({ room, spotlight, writeTo }), chat: chatPanel(room) };
  const panel = sidePanel(panels, {
    shown: (name) => {
      chat.open = name === "chat";
      bar.setPanel(name);
    },
    focusButton: (name) => bar.focus(name),
  });
  const invite = () => openInvite(link, room.name || title);
  const options = () => openOptions({ local, viewChanged: () => board.render() });
  const bar = controls({ room, local, togglePanel: panel.toggle, options });

  const inviteButton = h(
    "button",
    { type: "button", class: "quiet invite", onclick: invite },
    icon("link"),
    h("span", {}, t("invite")),
  );
  const element = h(
    "div",
    { class: "call" },
    h(
      "header",
      { class: "call-head" },
      h("img", { src: "favicon.svg", alt: "", width: 28, height: 28 }),
      heading,
      clock,
      inviteButton,
    ),
    banner,
    waitingView.element,
    h("div", { class: "call-body" }, board.element, panel.element),
    bar.element,
  );

  const renderRoom = coalesced(() => {
    renderBanner();
    heading.textContent = room.name || title || t("call");
    board.render();
    panels.people.render();
    panels.chat.render();
    bar.render();
  });
  const renderChat = coalesced(() => {
    panels.chat.render();
    bar.render();
  });
  const renderBanner = () => {
    const text = bannerText(room);
    banner.hidden = text === null;
    // A live region speaks again when its text is set, even if it is the same.
    if (banner.textContent !== (text ?? "")) banner.textContent = text ?? "";
    banner.classList.toggle("is-mild", room.status !== "reconnecting" && !room.soundBlocked);
  };
  const renderStatus = () => {
    renderBanner();
    const waiting = room.status === "waiting";
    waitingView.show(waiting);
    inviteButton.hidden = waiting;
    for (const part of [board.element.parentElement, bar.element]) part.hidden = waiting;
  };

  room.on("change", renderRoom, { signal });
  local.on("change", renderRoom, { signal });
  room.on("status", renderStatus, { signal });
  chat.on("change", renderChat, { signal });
  const spotlit = () => {
    renderRoom();
    const participant = room.participants.get(spotlight.peerId);
    if (participant) toast(t("inSpotlight", { name: nameOf(participant) }));
  };
  spotlight.on("change", spotlit, { signal });
  const closePanel = ({ key }) => {
    // Escape in a dialog or in the list of reactions closes that alone.
    if (key === "Escape" && !document.querySelector("dialog[open], :popover-open")) panel.close();
  };
  document.addEventListener("keydown", closePanel, { signal });
  listenToShortcuts(
    {
      M: bar.toggleMicrophone,
      V: bar.toggleCamera,
      C: () => panel.toggle("chat"),
      P: () => panel.toggle("people"),
      H: bar.toggleHand,
      I: invite,
      L: () => {
        prefer("speakerView", !preference("speakerView", false));
        board.render();
      },
      F: () => document.fullscreenEnabled && toggleFullScreen(document.documentElement),
      "?": openShortcuts,
    },
    () => room.status !== "waiting",
    signal,
  );
  watchSpeakers(room, board.setSpeaking, signal);
  keepScreenOn(signal);
  room.on("quality", board.render, { signal });
  room.on("videoLimited", renderBanner, { signal });
  chat.on("message", () => playSound("message"), { signal });
  const reacted = (participant, emoji) => {
    board.showReaction(participant.peerId, emoji);
    announce(t("reaction", { name: nameOf(participant), emoji }));
  };
  room.on("reaction", reacted, { signal });
  announceJoinsAndLeaves(room, signal);
  announceChanges(room, signal);

  const tick = setInterval(() => (clock.textContent = elapsed(Date.now() - since)), 1_000);
  signal.addEventListener("abort", () => {
    clearInterval(tick);
    board.closed();
    chat.open = false;
  });

  renderStatus();
  renderRoom();
  renderChat();
  return { title: title || t("call"), element, closed: () => listeners.abort() };
}

function bannerText({ status, degraded, soundBlocked, videoLimited, others }) {
  if (status === "connecting") return t("connecting");
  if (status === "reconnecting") return t("reconnecting");
  if (degraded) return t("degraded");
  if (soundBlocked) return t("soundBlocked");
  if (videoLimited) return t("videoLimited");
  if (status === "live" && others.length === 0) return t("alone");
  return null;
}

function elapsed(milliseconds) {
  const seconds = Math.floor(milliseconds / 1_000);
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  const padded = [minutes, seconds % 60].map((part) => String(part).padStart(2, "0"));
  return [...(hours ? [hours] : []), ...padded].join(":");
}

/** Shows a notice when a participant joins or leaves after this page has joined. */
function announceJoinsAndLeaves(room, signal) {
  let known = null;
  let seat = null;
  const notice = (key) => (name) => {
    toast(t(key, { name }));
    playSound(key);
  };
  const [arrived, departed] = [notice("joined"), notice("left")];
  room.on(
    "change",
    () => {
      const now = new Map(room.others.map((participant) => [participant.peerId, nameOf(participant)]));
      const sameSeat = seat === room.self?.joinedAt;
      if (known && sameSeat) {
        for (const [peerId, name] of now) if (!known.has(peerId)) arrived(name);
        for (const [peerId, name] of known) if (!now.has(peerId)) departed(name);
      }
      if (room.self) [known, seat] = [now, room.self.joinedAt];
    },
    { signal },
  );
}

const MUTED = { audio: "mutedAudio", video: "mutedVideo", screen: "mutedScreen" };
const ROLES = { host: "roleHost", moderator: "roleModerator", participant: "roleParticipant", guest: "roleGuest" };

/**
 * Shows a notice for each join request, raised hand, role change, lock change and mute by a
 * moderator.
 */
function announceChanges(room, signal) {
  let before = null;
  const changes = () => {
    const roles = new Map([...room.participants.values()].map(({ peerId, role }) => [peerId, role]));
    const now = {
      seat: room.self?.joinedAt,
      waiting: new Set(room.waiting.keys()),
      roles,
      locked: room.locked,
      hands: new Set(room.raisedHands.map(({ peerId }) => peerId)),
    };
    if (before && before.seat === now.seat) {
      for (const [peerId, { user }] of room.waiting) {
        if (before.waiting.has(peerId)) continue;
        toast(t("knocks", { name: user?.name || t("guest") }));
        playSound("knock");
      }
      for (const [peerId, role] of roles) {
        if (!before.roles.has(peerId) || before.roles.get(peerId) === role) continue;
        const name = nameOf(room.participants.get(peerId));
        toast(t(peerId === room.selfId ? "youAreNow" : "isNow", { name, role: t(ROLES[role]) }));
      }
      for (const participant of room.raisedHands) {
        if (participant.isSelf || before.hands.has(participant.peerId)) continue;
        toast(t("raisedHand", { name: nameOf(participant) }));
        playSound("hand");
      }
      if (before.locked !== now.locked)
        toast(t(now.locked ? "locked" : "unlocked"));
    }
    if (room.self) before = now;
  };
  room.on("change", changes, { signal });
  room.on("muted", (kind) => toast(t(MUTED[kind] ?? MUTED.screen)), { signal });
}

/** Shows one panel at a time beside the stage. On a phone the panel covers the stage. */
function sidePanel(panels, { shown, focusButton }) {
  const title = h("h2", { id: "panel-title" });
  const content = h("div", { class: "panel-content" });
  const close = h(
    "button",
    { type: "button", class: "bare", "aria-label": t("closePanel"), onclick: () => show(null) },
    icon("close"),
  );
  const element = h(
    "aside",
    { class: "panel", hidden: true, "aria-labelledby": "panel-title" },
    h("header", {}, title, close),
    content,
  );
  let open = null;
  let opener = null;
  let last = null;
  function show(name) {
    open = name;
    element.hidden = name === null;
    shown(name);
    if (name === null) {
      // The element that opened the panel may be gone, or may have been in the panel.
      if (!opener?.checkVisibility()) return focusButton(last);
      return opener.focus();
    }
    opener = document.activeElement;
    last = name;
    title.textContent = panels[name].title;
    content.replaceChildren(panels[name].element);
    panels[name].opened?.();
  }
  return {
    element,
    open: (name) => open !== name && show(name),
    toggle: (name) => show(open === name ? null : name),
    close: () => open !== null && show(null),
  };
}
