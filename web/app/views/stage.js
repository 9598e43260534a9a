// Stage: one tile per participant and one per shared screen, and which of them are large.
import { h } from "../dom.js";
import { layout } from "../layout.js";
import { t } from "../language.js";
import { preference } from "../preferences.js";
import { makeTile } from "./tile.js";

/**
 * @param {import("../../vendor/switchboard.js").Room} room
 * @param {import("../spotlight.js").Spotlight} spotlight
 */
export function stage(room, spotlight) {
  const element = h("section", { class: "stage", "aria-label": t("participants") });
  const tiles = new Map();
  let pinned = null;
  let speaking = new Set();
  /** Peer id of the person who spoke last, this user excepted. */
  let speaker = null;

  /** Lists the tiles to show. */
  function listTiles() {
    return [...room.participants.values()].flatMap((participant) => {
      const { peerId } = participant;
      const camera = { key: peerId, participant, source: "camera" };
      return participant.screen ? [{ key: `screen ${peerId}`, participant, source: "screen" }, camera] : [camera];
    });
  }

  /**
   * Returns the keys of the large tiles: the pinned one, or the shared screens, or the person in
   * the spotlight, or in the speaker view the person who speaks. The user's own tiles stay small.
   */
  function featured(list) {
    if (list.some(({ key }) => key === pinned)) return [pinned];
    const screens = list.filter(({ source, participant }) => source === "screen" && !participant.isSelf);
    if (screens.length > 0) return screens.map(({ key }) => key);
    const { peerId } = spotlight;
    if (peerId && peerId !== room.selfId) return [peerId];
    if (!preference("speakerView", false)) return [];
    const others = list.filter(({ participant, source }) => !participant.isSelf && source === "camera");
    return others.some(({ key }) => key === speaker) ? [speaker] : others.slice(0, 1).map(({ key }) => key);
  }

  function pin(key) {
    pinned = pinned === key ? null : key;
    render();
  }

  function render() {
    const list = listTiles();
    const hands = room.raisedHands;
    const keys = new Set(list.map(({ key }) => key));
    for (const key of tiles.keys()) if (!keys.has(key)) remove(key);
    for (const { key, participant, source } of list) {
      if (!tiles.has(key)) {
        tiles.set(key, makeTile(participant, { source, pin: () => pin(key) }));
        element.append(tiles.get(key).element);
      }
      const { peerId } = participant;
      const hand = hands.indexOf(participant) + 1;
      const { videoLimited } = room;
      tiles.get(key).update({ speaking: speaking.has(peerId), pinned: pinned === key, hand, videoLimited });
    }
    arrange();
  }

  function remove(key) {
    const tile = tiles.get(key);
    tile.detach();
    // A focus in the tile would be lost with it.
    if (tile.element.contains(document.activeElement)) document.getElementById("app").focus();
    tile.element.remove();
    tiles.delete(key);
  }

  function arrange() {
    const list = listTiles().filter(({ key }) => tiles.has(key));
    const large = featured(list);
    const small = list.map(({ key }) => key).filter((key) => !large.includes(key));
    const { clientWidth: width, clientHeight: height } = element;
    if (width === 0 || list.length === 0) return;
    const screens = large.some((key) => key.startsWith("screen "));
    const places = layout({ featured: large.length, others: small.length, screens, width, height });
    large.forEach((key, index) => tiles.get(key).place(places.featured[index]));
    small.forEach((key, index) => tiles.get(key).place(places.others[index]));
    for (const [key, tile] of tiles) tile.element.classList.toggle("is-featured", large.includes(key));
  }

  const sizes = new ResizeObserver(arrange);
  sizes.observe(element);
  return {
    element,
    render,
    /** @param {Set<string>} now peer ids of those who speak */
    setSpeaking(now) {
      speaking = now;
      const others = [...now].filter((peerId) => peerId !== room.selfId);
      // A person who goes on speaking stays large.
      if (!now.has(speaker) && others.length > 0) speaker = others[0];
      render();
    },
    /** Shows an emoji on a participant's tile for a moment. */
    showReaction: (peerId, emoji) => tiles.get(peerId)?.showReaction(emoji),
    closed() {
      sizes.disconnect();
      for (const key of [...tiles.keys()]) remove(key);
    },
  };
}
