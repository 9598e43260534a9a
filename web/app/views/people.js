// Who is here: role, microphone and camera, connection, and quietly the node that serves each one.
import { h, hueOf, icon, initials, nameOf } from "../dom.js";
import { connectionWords } from "./stage.js";

const ROLES = { host: "Host", moderator: "Moderator" };

/** @param {{call: import("../call.js").Call}} context */
export function peoplePanel({ call }) {
  const list = h("ul", { class: "people" });

  function row(participant) {
    const { room, mesh } = call;
    const { peerId, role, mediaState } = participant;
    const own = peerId === room.selfId;
    const words = connectionWords(participant, own ? undefined : mesh?.get(peerId));
    const node = own ? room.node : participant.node;
    const avatar = h("span", { class: "avatar small", "aria-hidden": "true" }, initials(nameOf(participant)));
    avatar.style.setProperty("--hue", hueOf(participant.userId ?? peerId));
    const element = h(
      "li",
      {},
      avatar,
      h(
        "div",
        { class: "person" },
        h("span", {}, nameOf(participant), own && h("span", { class: "muted" }, " (you)")),
        h(
          "small",
          { class: "muted" },
          [ROLES[role], words ?? "connected", node && `via ${node}`].filter(Boolean).join(" · "),
        ),
      ),
      device("mic", "Microphone", mediaState.audioEnabled),
      device("camera", "Camera", mediaState.videoEnabled),
      h("span", { class: `lamp lamp-${words ?? "connected"}`, "aria-hidden": "true" }),
    );
    element.dataset.peer = peerId;
    element.dataset.node = node ?? "";
    return element;
  }

  return {
    title: "People",
    element: list,
    render: () => list.replaceChildren(...[...call.room.participants.values()].map(row)),
  };
}

function device(symbol, label, on) {
  return h(
    "span",
    { class: on ? "device" : "device is-off", role: "img", "aria-label": `${label} ${on ? "on" : "off"}` },
    icon(on ? symbol : `${symbol}-off`),
  );
}
