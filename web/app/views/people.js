// People panel: waiting and present participants, with role, devices, connection, and the
// moderator's actions.
import { KINDS, outranks } from "../../vendor/switchboard.js";
import { h, hueOf, icon, initials, nameOf, setIcon } from "../dom.js";
import { confirm } from "./dialogs.js";
import { openSettings } from "./settings.js";
import { connectionLabel } from "./stage.js";
import { toastError } from "./toasts.js";

// A guest is marked, because a guest can take any name, also that of the host.
const ROLES = { host: "Host", moderator: "Moderator" };
const roleOf = ({ role, user }) => [ROLES[role], user?.isGuest && "Guest"].filter(Boolean).join(", ");
const MUTES = { audioEnabled: "Mute", videoEnabled: "Turn off camera", screenShareEnabled: "Stop screen sharing" };

/**
 * @param {{room: import("../../vendor/switchboard.js").Room, writeTo: (peerId: string) => void}}
 *   context
 */
export function peoplePanel({ room, writeTo }) {
  const { moderation } = room;
  const admitAll = h("button", { type: "button", class: "quiet", onclick: () => act(moderation.admitAll()) }, "Admit all");
  const waitingList = h("ul", { class: "people", "aria-label": "Waiting", tabindex: "-1" });
  const waiting = h(
    "section",
    { class: "waiting-list", hidden: true, "aria-labelledby": "waiting-title" },
    h("header", {}, h("h3", { id: "waiting-title" }, "Waiting to join"), admitAll),
    waitingList,
  );
  const list = h("ul", { class: "people", "aria-label": "In the call", tabindex: "-1" });
  const lock = h("button", { type: "button", class: "quiet", onclick: () => act(moderation.lock(!room.locked)) });
  const settings = h("button", { type: "button", class: "quiet", onclick: () => openSettings(room) }, "Settings…");
  const foot = h("footer", { class: "panel-foot", hidden: true }, lock, settings);
  const rows = keyed(list, (participant) => personRow(participant, { room, writeTo }));
  const requests = keyed(waitingList, (participant) => requestRow(participant, moderation));

  return {
    title: "People",
    element: h("div", { class: "people-panel" }, waiting, list, foot),
    render() {
      waiting.hidden = room.waiting.size === 0;
      admitAll.hidden = room.waiting.size < 2;
      requests([...room.waiting.values()]);
      rows([...room.participants.values()]);
      foot.hidden = !room.isModerator;
      settings.hidden = !room.isHost;
      lock.textContent = room.locked ? "Unlock the call" : "Lock the call";
      lock.setAttribute("aria-pressed", room.locked);
    },
  };
}

const act = (done) => done.catch(toastError);

/** Keeps one row per participant, so that other changes neither move the focus nor close a menu. */
function keyed(list, make) {
  const rows = new Map();
  return (participants) => {
    const present = new Set(participants.map(({ peerId }) => peerId));
    for (const [peerId, row] of rows) {
      if (present.has(peerId)) continue;
      // A focus in the row would be lost with it.
      if (row.element.contains(document.activeElement)) list.focus();
      row.element.remove();
      rows.delete(peerId);
    }
    for (const participant of participants) {
      if (!rows.has(participant.peerId)) {
        rows.set(participant.peerId, make(participant));
        list.append(rows.get(participant.peerId).element);
      }
      rows.get(participant.peerId).update(participant);
    }
  };
}

function face(participant) {
  const avatar = h("span", { class: "avatar small", "aria-hidden": "true" }, initials(nameOf(participant)));
  avatar.style.setProperty("--hue", hueOf(participant.userId ?? participant.peerId));
  return avatar;
}

function requestRow(participant, { admit, deny }) {
  const { peerId } = participant;
  const name = nameOf(participant);
  const button = (label, kind, onclick) =>
    h("button", { type: "button", class: `compact ${kind}`, "aria-label": `${label} ${name}`, onclick }, label);
  const element = h(
    "li",
    {},
    face(participant),
    h("div", { class: "person" }, h("span", {}, name), h("small", { class: "muted" }, roleOf(participant))),
    button("Deny", "secondary", () => act(deny(peerId))),
    button("Admit", "primary", () => act(admit(peerId))),
  );
  return { element, update: () => {} };
}

function personRow(participant, { room, writeTo }) {
  const { peerId, isSelf } = participant;
  const details = h("small", { class: "muted" });
  const devices = { audioEnabled: device("mic", "Microphone"), videoEnabled: device("camera", "Camera") };
  const lamp = h("span", { "aria-hidden": "true" });
  const actions = h("div", { class: "person-actions", hidden: true });
  const more = h(
    "button",
    {
      type: "button",
      class: "bare",
      "aria-label": `Actions for ${nameOf(participant)}`,
      "aria-expanded": "false",
      onclick: () => {
        actions.hidden = !actions.hidden;
        more.setAttribute("aria-expanded", !actions.hidden);
      },
    },
    icon("more"),
  );
  const element = h(
    "li",
    {},
    face(participant),
    h("div", { class: "person" }, h("span", {}, nameOf(participant), isSelf && h("span", { class: "muted" }, " (you)")), details),
    devices.audioEnabled.element,
    devices.videoEnabled.element,
    lamp,
    more,
    actions,
  );
  element.dataset.peer = peerId;
  let shown = "";

  return {
    element,
    update(now) {
      const connection = connectionLabel(now) ?? "connected";
      // For automated tests: people need not know the node.
      element.dataset.node = (isSelf ? room.node : now.node) ?? "";
      details.textContent = [roleOf(now), connection].filter(Boolean).join(" · ");
      for (const [field, mark] of Object.entries(devices)) mark.set(now.mediaState[field]);
      lamp.className = `lamp lamp-${connection}`;
      more.hidden = isSelf;
      const choices = isSelf ? [] : choicesFor(now, room, writeTo);
      const key = choices.map(({ label }) => label).join();
      // Replace the buttons only when the choices change, so that a focused button keeps the focus.
      if (key === shown) return;
      shown = key;
      actions.replaceChildren(
        ...choices.map(({ label, danger, run }) =>
          h("button", { type: "button", class: danger ? "compact outline-danger" : "compact secondary", onclick: run }, label),
        ),
      );
    },
  };
}

/** Returns the actions that this user may take on another participant. */
function choicesFor({ peerId, role, mediaState, user }, room, writeTo) {
  const { moderation } = room;
  const name = user?.name || "Guest";
  const choices = [{ label: "Message", run: () => writeTo(peerId) }];
  const own = room.isHost ? "host" : room.self?.role;
  if (!outranks(own, role)) return choices;
  for (const [field, label] of Object.entries(MUTES)) {
    if (mediaState[field]) choices.push({ label, run: () => act(moderation.mute(peerId, KINDS[field])) });
  }
  if (own === "host") {
    const [label, next] =
      role === "moderator"
        ? ["Remove as moderator", peerId.startsWith("guest-") ? "guest" : "participant"]
        : ["Make moderator", "moderator"];
    choices.push({ label, run: () => act(moderation.setRole(peerId, next)) });
    if (!peerId.startsWith("guest-")) choices.push({ label: "Make host", run: () => handOver(peerId, name, moderation) });
  }
  const remove = (ban) => () =>
    confirm({
      title: ban ? `Ban ${name}?` : `Remove ${name}?`,
      text: ban ? "They leave the call and cannot return to it." : "They leave the call. They may join again.",
      yes: ban ? "Ban" : "Remove",
      act: () => moderation.remove(peerId, { ban }),
    });
  choices.push({ label: "Remove", danger: true, run: remove(false) }, { label: "Ban", danger: true, run: remove(true) });
  return choices;
}

function handOver(peerId, name, moderation) {
  confirm({
    title: `Make ${name} the host?`,
    text: "They run the call from now on. You stay as a moderator.",
    yes: "Make host",
    act: () => moderation.transferHost(peerId),
  });
}

function device(symbol, label) {
  const picture = icon(symbol);
  const element = h("span", { role: "img" }, picture);
  return {
    element,
    set(on) {
      element.className = on ? "device" : "device is-off";
      element.setAttribute("aria-label", `${label} ${on ? "on" : "off"}`);
      setIcon(picture, on ? symbol : `${symbol}-off`);
    },
  };
}
