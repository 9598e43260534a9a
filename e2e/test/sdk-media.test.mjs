// Devices of the SDK that are switched off while the browser opens them. The browser is a stub.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

class Track {
  enabled = true;
  readyState = "live";
  constructor(kind) {
    this.kind = kind;
  }
  addEventListener() {}
  stop() {
    this.readyState = "ended";
  }
}

class Stream {
  #tracks;
  constructor(tracks = []) {
    this.#tracks = tracks;
  }
  getTracks() {
    return [...this.#tracks];
  }
  getAudioTracks() {
    return this.#tracks.filter(({ kind }) => kind === "audio");
  }
  getVideoTracks() {
    return this.#tracks.filter(({ kind }) => kind === "video");
  }
  addTrack(track) {
    this.#tracks.push(track);
  }
  removeTrack(track) {
    this.#tracks = this.#tracks.filter((other) => other !== track);
  }
}

globalThis.MediaStream = Stream;
const { LocalMedia } = await import(new URL("../../sdk/js/dist/media.js", import.meta.url));

/** Local media of a browser that opens a device when it is told to. */
function localMedia() {
  const requests = [];
  const getUserMedia = (wanted) =>
    new Promise((resolve) => {
      const track = new Track("video" in wanted ? "video" : "audio");
      requests.push({ track, open: () => resolve(new Stream([track])) });
    });
  Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: { getUserMedia } }, configurable: true });
  return { local: new LocalMedia(), requests };
}

const kinds = [
  ["audio", "audioEnabled", "setAudio"],
  ["video", "videoEnabled", "setVideo"],
];

describe("devices that are being opened", () => {
  for (const [kind, field, set] of kinds) {
    test(`${kind} that the user switches off meanwhile stays off, and its device is released`, async () => {
      const { local, requests } = localMedia();
      const opening = local[set](true);
      await local[set](false);
      requests[0].open();
      await opening;
      assert.equal(local.state[field], false);
      assert.equal(requests[0].track.readyState, "ended");
    });

    test(`${kind} that a moderator switches off meanwhile stays off`, async () => {
      const { local, requests } = localMedia();
      const opening = local[set](true);
      local.withdraw([field]);
      requests[0].open();
      await opening;
      assert.deepEqual([local.state[field], requests[0].track.readyState], [false, "ended"]);
    });

    test(`${kind} that is switched on again meanwhile is on, with one device`, async () => {
      const { local, requests } = localMedia();
      const opening = [local[set](true)];
      await local[set](false);
      opening.push(local[set](true));
      requests.forEach(({ open }) => open());
      await Promise.all(opening);
      assert.equal(local.state[field], true);
      assert.deepEqual(requests.map(({ track }) => track.readyState), ["ended", "live"]);
    });
  }

  test("a camera that is withdrawn while the microphone opens is not opened", async () => {
    const { local, requests } = localMedia();
    const starting = local.start();
    local.withdraw(["videoEnabled"]);
    requests[0].open();
    await starting;
    assert.equal(requests.length, 1);
    assert.deepEqual([local.state.audioEnabled, local.state.videoEnabled], [true, false]);
  });
});
