// Tiles: one per participant and one per shared screen. A tile keeps its element until it is
// removed, so that other changes never interrupt its video.
import { h, hueOf, icon, initials, nameOf } from "../dom.js";

const RATIO = 16 / 9;
const GAP_PX = 12;

/** Returns a label for a connection that is not established, or null when it is. */
export function connectionLabel(participant) {
  if (participant.connectionState === "reconnecting") return "reconnecting";
  const state = participant.connection?.connectionState;
  if (state === "connected" || state === undefined) return null;
  return { disconnected: "reconnecting", failed: "failed", closed: "failed" }[state] ?? "connecting";
}

/** @param {import("../../vendor/switchboard.js").Room} room */
export function stage(room) {
  const screens = h("div", { class: "screens", hidden: true });
  const faces = h("div", { class: "faces" });
  const element = h("section", { class: "stage", "aria-label": "Participants" }, screens, faces);
  const tiles = new Map();

  /** Lists the tiles to show. */
  function listTiles() {
    return [...room.participants.values()].flatMap((participant) => {
      const { peerId } = participant;
      const camera = { key: peerId, participant, source: "camera" };
      return participant.screen ? [{ key: `screen ${peerId}`, participant, source: "screen" }, camera] : [camera];
    });
  }

  function render() {
    const list = listTiles();
    const keys = new Set(list.map(({ key }) => key));
    for (const [key, tile] of tiles) {
      if (keys.has(key)) continue;
      tile.detach();
      tile.element.remove();
      tiles.delete(key);
    }
    for (const { key, participant, source } of list) {
      if (!tiles.has(key)) {
        const tile = makeTile(participant, source);
        tiles.set(key, tile);
        // The user sees their own screen already, so its tile is small: a reminder that it is
        // shared.
        (source === "screen" && !participant.isSelf ? screens : faces).append(tile.element);
      }
      tiles.get(key).update();
    }
    screens.hidden = screens.children.length === 0;
    arrange();
  }

  function arrange() {
    arrangeTiles(screens);
    arrangeTiles(faces);
  }

  const sizes = new ResizeObserver(arrange);
  sizes.observe(element);
  return { element, render, closed: () => sizes.disconnect() };
}

/** Sets the container's number of columns so that its tiles are as large as possible. */
function arrangeTiles(container) {
  const count = container.children.length;
  const { clientWidth: width, clientHeight: height } = container;
  if (count === 0 || width === 0) return;
  const widthWith = (columns) => {
    const rows = Math.ceil(count / columns);
    const byWidth = (width - GAP_PX * (columns - 1)) / columns;
    const byHeight = ((height - GAP_PX * (rows - 1)) / rows) * RATIO;
    return Math.min(byWidth, byHeight);
  };
  const choices = Array.from({ length: count }, (_, index) => index + 1);
  const columns = choices.reduce((best, next) => (widthWith(next) > widthWith(best) ? next : best));
  container.style.setProperty("--columns", columns);
  container.style.setProperty("--rows", Math.ceil(count / columns));
}

function makeTile(participant, source) {
  const name = nameOf(participant);
  const own = participant.isSelf;
  const screen = source === "screen";
  const video = h("video");
  const detach = participant.attach(video, source);
  const avatar = h("span", { class: "avatar", "aria-hidden": "true" }, initials(name));
  avatar.style.setProperty("--hue", hueOf(participant.userId ?? participant.peerId));
  const label = h("span", { class: "tile-name" });
  const state = h("span", { class: "tile-state" });
  const marks = [
    h("span", { class: "mark mark-mic" }, icon("mic-off")),
    h("span", { class: "mark mark-camera" }, icon("camera-off")),
  ];
  const element = h(
    "figure",
    { class: "tile" },
    avatar,
    video,
    state,
    h("figcaption", {}, screen ? null : marks, label),
  );
  element.dataset.peer = participant.peerId;
  element.classList.toggle("is-screen", screen);
  element.classList.toggle("is-own", own);

  return {
    element,
    detach,
    update() {
      const { audioEnabled, videoEnabled } = participant.mediaState;
      const connection = screen ? null : connectionLabel(participant);
      video.hidden = !screen && !videoEnabled;
      avatar.hidden = !video.hidden;
      label.textContent = screen
        ? `${own ? "Your" : `${nameOf(participant)}'s`} screen`
        : own
          ? `${nameOf(participant)} (you)`
          : nameOf(participant);
      marks[0].hidden = audioEnabled;
      marks[1].hidden = videoEnabled;
      state.hidden = connection === null;
      state.textContent = connection ?? "";
      state.dataset.state = connection ?? "";
      element.setAttribute("aria-label", describe(label.textContent, participant.mediaState, connection, screen));
    },
  };
}

function describe(name, { audioEnabled, videoEnabled }, connection, screen) {
  if (screen) return name;
  return [name, `microphone ${audioEnabled ? "on" : "off"}`, `camera ${videoEnabled ? "on" : "off"}`, connection]
    .filter(Boolean)
    .join(", ");
}
