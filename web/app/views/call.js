// The call on screen: stage, side panel, controls, and one line that says when something is wrong.
import { h, icon } from "../dom.js";
import { chatPanel } from "./chat.js";
import { controls } from "./controls.js";
import { peoplePanel } from "./people.js";
import { stage } from "./stage.js";
import { toast } from "./toasts.js";

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
  const panels = { people: peoplePanel({ call }), chat: chatPanel({ chat }) };
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
    h("div", { class: "call-body" }, board.element, panel.element),
    bar.element,
  );

  const renderRoom = coalesced(() => {
    heading.textContent = room.name || title || "Call";
    board.render();
    panels.people.render();
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
  };

  room.addEventListener("change", renderRoom, { signal });
  local.addEventListener("change", renderRoom, { signal });
  call.addEventListener("status", renderStatus, { signal });
  call.addEventListener("seated", () => call.mesh.addEventListener("change", renderRoom, { signal }), { signal });
  chat.addEventListener("change", renderChat, { signal });
  element.addEventListener("keydown", (event) => event.key === "Escape" && panel.close());
  announceComingAndGoing(room, signal);

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
    toggle: (name) => show(open === name ? null : name),
    close: () => open !== null && show(null),
  };
}
