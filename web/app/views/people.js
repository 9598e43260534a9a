// People panel: waiting and present participants, with role, devices, connection, and the
// moderator's actions.
import { KINDS, outranks } from "../../vendor/switchboard.js";
import { h, hueOf, icon, initials, setIcon } from "../dom.js";
import { nameOf, t } from "../language.js";
import { confirm } from "./dialogs.js";
import { openSettings } from "./settings.js";
import { STATES, connectionState } from "./tile.js";
import { toastError } from "./toasts.js";

// A guest is marked, because a guest can take any name, also that of the host.
const ROLES = { host: "host", moderator: "moderator" };
const roleOf = ({ role, user }) => [ROLES[role] && t(ROLES[role]), user?.isGuest && t("guest")].filter(Boolean).join(", ");
const MUTES = { audioEnabled: "mute", videoEnabled: "turnOffCamera", screenShareEnabled: "stopScreen" };

/**
 * @param {{room: import("../../vendor/switchboard.js").Room,
 *   spotlight: import("../spotlight.js").Spotlight, writeTo: (peerId: string) => void}} context
 */
export function peoplePanel({ room, spotlight, writeTo }) {
  const { moderation } = room;
  const admitAll = h("button", { type: "button", class: "quiet", onclick: () => act(moderation.admitAll()) }, t("admitAll"));
  const waitingList = h("ul", { class: "people", "aria-label": t("waiting"), tabindex: "-1" });
  const waiting = h(
    "section",
    { class: "waiting-list", hidden: true, "aria-labelledby": "waiting-title" },
    h("header", {}, h("h3", { id: "waiting-title" }, t("waitingToJoin")), admitAll),
    waitingList,
  );
  const list = h("ul", { class: "people", "aria-label": t("inTheCall"), tabindex: "-1" });
  const lock = h("button", { type: "button", class: "quiet", onclick: () => act(moderation.lock(!room.locked)) });
  const settings = h("button", { type: "button", class: "quiet", onclick: () => openSettings(room) }, t("settings"));
  const foot = h("footer", { class: "panel-foot", hidden: true }, lock, settings);
  const rows = keyed(list, (participant) => personRow(participant, { room, spotlight, writeTo }));
  const requests = keyed(waitingList, (participant) => requestRow(participant, moderation));

  return {
    title: t("people"),
    element: h("div", { class: "people-panel" }, waiting, list, foot),
    render() {
      admitAll.hidden = room.waiting.size < 2;
      requests([...room.waiting.values()]);
      const empty = room.waiting.size === 0;
      // A focus in the list of requests is lost when that is hidden.
      if (empty && waiting.contains(document.activeElement)) list.focus();
      waiting.hidden = empty;
      rows([...room.participants.values()]);
      foot.hidden = !room.isModerator;
      settings.hidden = !room.isHost;
      lock.textContent = t(room.locked ? "unlock" : "lock");
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
  const button = (key, kind, onclick) =>
    h(
      "button",
      { type: "button", class: `compact ${kind}`, "aria-label": t(`${key}Person`, { name }), onclick },
      t(key),
    );
  const element = h(
    "li",
    {},
    face(participant),
    h("div", { class: "person" }, h("span", {}, name), h("small", { class: "muted" }, roleOf(participant))),
    button("deny", "secondary", () => act(deny(peerId))),
    button("admit", "primary", () => act(admit(peerId))),
  );
  return { element, update: () => {} };
}

function personRow(participant, { room, spotlight, writeTo }) {
  const { peerId, isSelf } = participant;
  const name = h("span");
  const details = h("small", { class: "muted" });
  const devices = { audioEnabled: device("mic", "microphoneOn", "microphoneOff"), videoEnabled: device("camera", "cameraIsOn", "cameraIsOff") };
  const lamp = h("span", { "aria-hidden": "true" });
  const actions = h("div", { class: "person-actions", hidden: true });
  const more = h(
    "button",
    {
      type: "button",
      class: "bare",
      "aria-label": t("actionsFor", { name: nameOf(participant) }),
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
    h("div", { class: "person" }, name, details),
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
      const connection = connectionState(now) ?? "connected";
      // For automated tests: people need not know the node.
      element.dataset.node = (isSelf ? room.node : now.node) ?? "";
      name.textContent = isSelf ? t("you", { name: nameOf(now) }) : nameOf(now);
      details.textContent = [roleOf(now), t(STATES[connection]), now.handRaisedAt && t("handRaised")].filter(Boolean).join(" · ");
      for (const [field, mark] of Object.entries(devices)) mark.set(now.mediaState[field]);
      lamp.className = `lamp lamp-${connection}`;
      const choices = [
        !isSelf && { label: t("message"), run: () => writeTo(peerId) },
        room.isModerator && spotlightChoice(peerId, spotlight),
        ...(isSelf ? [] : moderationChoices(now, room)),
      ].filter(Boolean);
      more.hidden = choices.length === 0;
      // The menu of a former moderator's own row has no choices any more.
      actions.hidden ||= more.hidden;
      const key = choices.map(({ label }) => label).join();
      if (key === shown) return;
      shown = key;
      const focused = actions.contains(document.activeElement) && document.activeElement.textContent;
      actions.replaceChildren(
        ...choices.map(({ label, danger, run }) =>
          h("button", { type: "button", class: danger ? "compact outline-danger" : "compact secondary", onclick: run }, label),
        ),
      );
      // A focus in the choices is lost with them. A choice that is gone gives it to their opener.
      if (focused) ([...actions.children].find(({ textContent }) => textContent === focused) ?? more).focus();
    },
  };
}

/** Returns the commands that this user may give about another participant. */
function moderationChoices({ peerId, role, mediaState, user, handRaisedAt }, room) {
  const { moderation } = room;
  const name = user?.name || t("guest");
  const own = room.isHost ? "host" : room.self?.role;
  if (!outranks(own, role)) return [];
  const choices = [];
  if (handRaisedAt) choices.push({ label: t("lowerHand"), run: () => act(moderation.lowerHand(peerId)) });
  for (const [field, label] of Object.entries(MUTES)) {
    if (mediaState[field]) choices.push({ label: t(label), run: () => act(moderation.mute(peerId, KINDS[field])) });
  }
  if (own === "host") {
    const [label, next] =
      role === "moderator"
        ? [t("removeModerator"), peerId.startsWith("guest-") ? "guest" : "participant"]
        : [t("makeModerator"), "moderator"];
    choices.push({ label, run: () => act(moderation.setRole(peerId, next)) });
    if (!peerId.startsWith("guest-")) choices.push({ label: t("makeHost"), run: () => handOver(peerId, name, moderation) });
  }
  const remove = (ban) => () =>
    confirm({
      title: t(ban ? "banTitle" : "removeTitle", { name }),
      text: t(ban ? "banText" : "removeText"),
      yes: t(ban ? "ban" : "remove"),
      act: () => moderation.remove(peerId, { ban }),
    });
  choices.push({ label: t("remove"), danger: true, run: remove(false) }, { label: t("ban"), danger: true, run: remove(true) });
  return choices;
}

function spotlightChoice(peerId, spotlight) {
  const isOn = spotlight.peerId === peerId;
  return { label: t(isOn ? "endSpotlight" : "startSpotlight"), run: () => act(spotlight.set(isOn ? null : peerId)) };
}

function handOver(peerId, name, moderation) {
  confirm({
    title: t("makeHostTitle", { name }),
    text: t("makeHostText"),
    yes: t("makeHost"),
    act: () => moderation.transferHost(peerId),
  });
}

function device(symbol, onLabel, offLabel) {
  const picture = icon(symbol);
  const element = h("span", { role: "img" }, picture);
  return {
    element,
    set(on) {
      element.className = on ? "device" : "device is-off";
      element.setAttribute("aria-label", t(on ? onLabel : offLabel));
      setIcon(picture, on ? symbol : `${symbol}-off`);
    },
  };
}
