// Call view: stage, side panel, controls, and a banner for connection problems.
import { h, icon } from "../dom.js";
import { chatPanel } from "./chat.js";
import { controls } from "./controls.js";
import { peoplePanel } from "./people.js";
import { stage } from "./stage.js";
import { toast } from "./toasts.js";
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
 *   local: import("../../vendor/switchboard.js").LocalMedia, title: string, link: string}} context
 */
export function callView({ room, local, title, link }) {
  const { chat } = room;
  const listeners = new AbortController();
  const { signal } = listeners;

  const heading = h("h1", {}, title);
  const clock = h("span", { class: "clock", "aria-hidden": "true" });
  const banner = h("div", { class: "banner", role: "status", "aria-live": "assertive", hidden: true });
  const board = stage(room);
  const waitingView = waitingRoom({ room, title });
  const writeTo = (peerId) => {
    panel.open("chat");
    panels.chat.writeTo(peerId);
  };
  const panels = { people: peoplePanel({ room, writeTo }), chat: chatPanel(room) };
  const panel = sidePanel(panels, {
    shown: (name) => {
      chat.open = name === "chat";
      bar.setPanel(name);
    },
    focusButton: (name) => bar.focus(name),
  });
  const bar = controls({ room, local, togglePanel: panel.toggle });

  const copy = h(
    "button",
    { type: "button", class: "quiet copy", onclick: () => copyLink(link) },
    icon("link"),
    h("span", {}, "Copy link"),
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
      copy,
    ),
    banner,
    waitingView.element,
    h("div", { class: "call-body" }, board.element, panel.element),
    bar.element,
  );

  const renderRoom = coalesced(() => {
    heading.textContent = room.name || title || "Call";
    board.render();
    panels.people.render();
    panels.chat.render();
    bar.render();
  });
  const renderChat = coalesced(() => {
    panels.chat.render();
    bar.render();
  });
  const renderStatus = () => {
    const text = bannerText(room);
    banner.hidden = text === null;
    banner.textContent = text ?? "";
    banner.classList.toggle("is-mild", room.status === "connecting" || (room.status === "live" && room.degraded));
    const waiting = room.status === "waiting";
    waitingView.show(waiting);
    for (const part of [board.element.parentElement, bar.element]) part.hidden = waiting;
  };

  room.on("change", renderRoom, { signal });
  local.on("change", renderRoom, { signal });
  room.on("status", renderStatus, { signal });
  chat.on("change", renderChat, { signal });
  const closePanel = ({ key }) => {
    // Escape in a dialog closes the dialog alone.
    if (key === "Escape" && !document.querySelector("dialog[open]")) panel.close();
  };
  document.addEventListener("keydown", closePanel, { signal });
  announceJoinsAndLeaves(room, signal);
  announceChanges(room, signal);

  const startedAt = Date.now();
  const tick = setInterval(() => (clock.textContent = elapsed(Date.now() - startedAt)), 1_000);
  signal.addEventListener("abort", () => {
    clearInterval(tick);
    board.closed();
  });

  renderStatus();
  renderRoom();
  renderChat();
  return { title: title || "Call", element, closed: () => listeners.abort() };
}

function bannerText({ status, degraded }) {
  if (status === "connecting") return "Connecting…";
  if (status === "reconnecting") return "Connection lost. Reconnecting… Audio and video continue where possible.";
  if (degraded) return "The service is recovering. The call continues; joining and chat may take a moment.";
  return null;
}

function elapsed(milliseconds) {
  const seconds = Math.floor(milliseconds / 1_000);
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  const padded = [minutes, seconds % 60].map((part) => String(part).padStart(2, "0"));
  return [...(hours ? [hours] : []), ...padded].join(":");
}

async function copyLink(link) {
  try {
    await navigator.clipboard.writeText(link);
    toast("Link copied. Send it to the people you want to invite.");
  } catch {
    // No permission, or an insecure page: show the link, so that the user can copy it by hand.
    toast(link);
  }
}

/** Shows a notice when a participant joins or leaves after this page has joined. */
function announceJoinsAndLeaves(room, signal) {
  let known = null;
  let seat = null;
  room.on(
    "change",
    () => {
      const now = new Map(room.others.map(({ peerId, user }) => [peerId, user?.name ?? "Guest"]));
      const sameSeat = seat === room.self?.joinedAt;
      if (known && sameSeat) {
        for (const [peerId, name] of now) if (!known.has(peerId)) toast(`${name} joined`);
        for (const [peerId, name] of known) if (!now.has(peerId)) toast(`${name} left`);
      }
      if (room.self) [known, seat] = [now, room.self.joinedAt];
    },
    { signal },
  );
}

const MUTED = { audio: "muted you", video: "turned off your camera", screen: "stopped your screen sharing" };
const ROLES = { host: "the host", moderator: "a moderator", participant: "a participant", guest: "a guest" };

/** Shows a notice for each join request, role change, lock change and mute by a moderator. */
function announceChanges(room, signal) {
  let before = null;
  const changes = () => {
    const roles = new Map([...room.participants.values()].map(({ peerId, role }) => [peerId, role]));
    const now = { seat: room.self?.joinedAt, waiting: new Set(room.waiting.keys()), roles, locked: room.locked };
    if (before && before.seat === now.seat) {
      for (const [peerId, { user }] of room.waiting) {
        if (!before.waiting.has(peerId)) toast(`${user?.name ?? "A guest"} would like to join`);
      }
      for (const [peerId, role] of roles) {
        if (!before.roles.has(peerId) || before.roles.get(peerId) === role) continue;
        const subject = peerId === room.selfId ? "You are" : `${room.participants.get(peerId).user?.name ?? "A guest"} is`;
        toast(`${subject} now ${ROLES[role]}`);
      }
      if (before.locked !== now.locked)
        toast(now.locked ? "The call is locked: no one new can join" : "The call is unlocked");
    }
    if (room.self) before = now;
  };
  room.on("change", changes, { signal });
  room.on("muted", (kind) => toast(`A moderator has ${MUTED[kind] ?? MUTED.screen}`), { signal });
}

/** Shows one panel at a time beside the stage. On a phone the panel covers the stage. */
function sidePanel(panels, { shown, focusButton }) {
  const title = h("h2", { id: "panel-title" });
  const content = h("div", { class: "panel-content" });
  const close = h(
    "button",
    { type: "button", class: "bare", "aria-label": "Close panel", onclick: () => show(null) },
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
