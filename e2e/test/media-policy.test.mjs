// Bounds of the media that a page sends, and quality of connections: pure functions of the SDK.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

const sdk = (file) => import(new URL(`../../sdk/js/dist/${file}.js`, import.meta.url));
const { LEVEL_MAX, VIDEO_PARTICIPANTS_MAX, adapt, planMedia } = await sdk("media-policy");
const { countersOf, grade, measure } = await sdk("quality");

describe("the media policy", () => {
  test("the cameras of a page cost 1.6 Mbit/s at most, however many it is sent to, and nothing beyond the bound", () => {
    for (let participants = 2; participants <= 100; participants += 1) {
      const { camera } = planMedia({ participants });
      assert.equal(camera.active, participants <= VIDEO_PARTICIPANTS_MAX, `${participants}`);
      if (camera.active) assert.ok(camera.maxBitrate * (participants - 1) <= 1_600_000, `${participants}`);
    }
  });

  test("more participants and a lower level never mean more video, and sound stays as it is", () => {
    const size = ({ camera: { active, maxBitrate, maxFramerate, scaleResolutionDownBy } }) =>
      active ? [maxBitrate, maxFramerate, 1 / scaleResolutionDownBy] : [0, 0, 0];
    const grows = (less, more) => size(less).every((value, index) => value <= size(more)[index] + 1e-9);
    for (let participants = 2; participants <= 8; participants += 1) {
      for (let level = LEVEL_MAX; level >= 0; level -= 1) {
        const plan = planMedia({ participants, level });
        assert.ok(grows(planMedia({ participants: participants + 1, level }), plan));
        if (level > 0) assert.ok(grows(planMedia({ participants, level: level - 1 }), plan));
        assert.deepEqual(plan.audio, planMedia({ participants: 2 }).audio);
        assert.ok(plan.screen.active && plan.screen.scaleResolutionDownBy === 1, "a screen stays sharp");
      }
    }
    assert.equal(planMedia({ participants: 2, level: 0 }).camera.active, false);
  });

  test("a picture is scaled down to the height of its tile, and never up", () => {
    const scale = (participants, height) => planMedia({ participants, height }).camera.scaleResolutionDownBy;
    assert.deepEqual([scale(2, 720), scale(4, 720), scale(6, 720)], [1, 2, 3]);
    assert.deepEqual([scale(4, 360), scale(4, 240), scale(2, 1080)], [1, 1, 1.5]);
  });

  test("the bound of cameras is the application's", () => {
    assert.equal(planMedia({ participants: 8, videoMax: 8 }).camera.active, true);
    assert.equal(planMedia({ participants: 3, videoMax: 2 }).camera.active, false);
  });

  test("a poor connection loses a level in two samples and wins it back in five good ones in a row", () => {
    const after = (...qualities) => qualities.reduce(adapt, { level: LEVEL_MAX, streak: 0 }).level;
    const good = (count) => Array(count).fill("good");
    assert.equal(after("poor"), LEVEL_MAX);
    assert.equal(after("poor", "good", "poor"), LEVEL_MAX);
    assert.equal(after("poor", "poor"), LEVEL_MAX - 1);
    assert.equal(after("poor", "poor", ...good(4)), LEVEL_MAX - 1);
    assert.equal(after("poor", "poor", ...good(4), "fair", "good"), LEVEL_MAX - 1);
    assert.equal(after("poor", "poor", ...good(5)), LEVEL_MAX);
    assert.equal(after(...Array(40).fill("poor")), 0);
    assert.equal(after(...good(40)), LEVEL_MAX);
  });
});

describe("the quality of a connection", () => {
  test("is graded by its round-trip time and its losses", () => {
    assert.deepEqual([grade(null, 0), grade(300, 0.03), grade(301, 0), grade(0, 0.04)], ["good", "good", "fair", "fair"]);
    assert.deepEqual([grade(601, 0), grade(10, 0.11)], ["poor", "poor"]);
  });

  test("is measured between two samples, in both directions", () => {
    const reports = (bytes, packets, lost, fractionLost) => [
      { type: "candidate-pair", nominated: false, currentRoundTripTime: 9 },
      { type: "candidate-pair", nominated: true, currentRoundTripTime: 0.05 },
      { type: "inbound-rtp", bytesReceived: bytes, packetsReceived: packets, packetsLost: lost },
      { type: "inbound-rtp", bytesReceived: bytes, packetsReceived: packets, packetsLost: 0 },
      { type: "outbound-rtp", bytesSent: bytes },
      { type: "remote-inbound-rtp", fractionLost },
      { type: "remote-inbound-rtp", fractionLost: 0 },
    ];
    const before = countersOf(reports(1_000, 100, 0, 0), 1_000);
    const now = countersOf(reports(2_000, 190, 20, 0.02), 3_000);
    assert.deepEqual(measure(now, before), {
      quality: "fair",
      rtt: 50,
      lossIn: 0.1,
      lossOut: 0.02,
      bitrateIn: 8_000,
      bitrateOut: 4_000,
    });
    const quiet = measure(now, now);
    assert.deepEqual([quiet.lossIn, quiet.bitrateIn, quiet.quality], [0, 0, "good"]);
  });

  test("a report of a medium that is not sent any more does not count", () => {
    const old = { type: "remote-inbound-rtp", fractionLost: 0.5, timestamp: 1_000 };
    assert.deepEqual([countersOf([old], 2_000).lossOut, countersOf([old], 60_000).lossOut], [0.5, 0]);
  });
});
