// The call on screen: stage, side panel, controls, and one line that says when something is wrong.
import { h, icon } from "../dom.js";
import { chatPanel } from "./chat.js";
import { controls } from "./controls.js";
import { peoplePanel } from "./people.js";
import { stage } from "./stage.js";
import { toast } from "./toasts.js";
import { waitingRoom } from "./waiting.js";

/** Runs `render` once per turn however many changes there were. A frame callback would not run in a hidden tab. */
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
 * @param {{call: import("../call.js").Call, local: import("../media.js").LocalMedia, title: string, link: string}} context
 */
export function callView({ call, local, title, link }) {
  const { room, chat } = call;
  const listeners = new AbortController();
  const { signal } = listeners;

  const heading = h("h1", {}, title);
  const clock = h("span", { class: "clock", "aria-hidden": "true" });
  const banner = h("div", { class: "banner", role: "status", "aria-live": "assertive", hidden: true });
  const board = stage({ call, local });
  const door = waitingRoom({ call, title });
  const writeTo = (peerId) => {
    panel.open("chat");
    panels.chat.writeTo(peerId);
  };
  const panels = { people: peoplePanel({ call, writeTo }), chat: chatPanel({ chat, room }) };
  const panel = sidePanel(panels, (name) => {
    chat.open = name === "chat";
    bar.setPanel(name);
  });
  const bar = controls({ call, local, togglePanel: panel.toggle });

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
      h("img", { src: "/favicon.svg", alt: "", width: 28, height: 28 }),
      heading,
      clock,
      copy,
    ),
    banner,
    door.element,
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
    const words = bannerWords(call);
    banner.hidden = words === null;
    banner.textContent = words ?? "";
    banner.classList.toggle("is-mild", call.status === "connecting" || (call.status === "live" && call.degraded));
    const waiting = call.status === "waiting";
    door.show(waiting);
    for (const part of [board.element.parentElement, bar.element]) part.hidden = waiting;
  };

  room.addEventListener("change", renderRoom, { signal });
  local.addEventListener("change", renderRoom, { signal });
  call.addEventListener("status", renderStatus, { signal });
  call.addEventListener("seated", () => call.mesh.addEventListener("change", renderRoom, { signal }), { signal });
  chat.addEventListener("change", renderChat, { signal });
  element.addEventListener("keydown", (event) => event.key === "Escape" && panel.close());
  announceComingAndGoing(room, signal);
  announceChanges(call, signal);

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

function bannerWords({ status, degraded }) {
  if (status === "connecting") return "Connecting…";
  if (status === "reconnecting") return "Connection lost. Reconnecting… Sound and picture go on where they can.";
  if (degraded) return "The service is busy recovering. The call goes on; joining and chat may take a moment.";
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
    toast("The link is copied. Send it to whoever should come.");
  } catch {
    // No permission, or an insecure page: show it, so that it can be copied by hand.
    toast(link);
  }
}

/** Tells, by notice and so to screen readers, who came and went after this page sat down. */
function announceComingAndGoing(room, signal) {
  let known = null;
  let seat = null;
  room.addEventListener(
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

const MUTED = { audio: "muted you", video: "turned your camera off", screen: "stopped your screen" };
const ROLES = { host: "the host", moderator: "a moderator", participant: "a participant", guest: "a guest" };

/** Tells what others have changed: who wants in, a new role, the lock, a mute. */
function announceChanges(call, signal) {
  const { room } = call;
  let before = null;
  const changes = () => {
    const roles = new Map([...room.participants.values()].map(({ peerId, role }) => [peerId, role]));
    const now = { seat: room.self?.joinedAt, waiting: new Set(room.waiting.keys()), roles, locked: room.locked };
    if (before && before.seat === now.seat) {
      for (const [peerId, { user }] of room.waiting) {
        if (!before.waiting.has(peerId)) toast(`${user?.name ?? "Somebody"} would like to come in`);
      }
      for (const [peerId, role] of roles) {
        if (!before.roles.has(peerId) || before.roles.get(peerId) === role) continue;
        const name = peerId === room.selfId ? "You are" : `${room.participants.get(peerId).user?.name ?? "Somebody"} is`;
        toast(`${name} now ${ROLES[role]}`);
      }
      if (before.locked !== now.locked) toast(now.locked ? "The call is locked: nobody new can join" : "The call is open again");
    }
    if (room.self) before = now;
  };
  room.addEventListener("change", changes, { signal });
  call.addEventListener("muted", ({ detail }) => toast(`A moderator has ${MUTED[detail] ?? MUTED.screen}`), { signal });
}

/** One panel at a time beside the stage; on a phone it covers it. */
function sidePanel(panels, shown) {
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
  function show(name) {
    open = name;
    element.hidden = name === null;
    shown(name);
    if (name === null) return opener?.focus();
    opener = document.activeElement;
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
