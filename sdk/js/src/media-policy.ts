// Bounds of the media that a page sends. In a mesh each participant gets a copy of its own, so the
// cost grows with the number of participants. Pure: numbers in, numbers out.
import type { Quality } from "./quality.js";

/**
 * Most participants of a call whose cameras are sent. In a larger one only sound and screens are.
 */
export const VIDEO_PARTICIPANTS_MAX = 6;
/** Level of a connection on which nothing is reduced. On level 0 it has no camera. */
export const LEVEL_MAX = 3;

/**
 * Camera by the number of participants: about 1.5 Mbit/s in all, because tiles get smaller as their
 * number grows. `height` is in pixels, bitrates are in bit/s.
 */
const CAMERA = [
  { participants: 2, maxBitrate: 1_500_000, height: 720, maxFramerate: 30 },
  { participants: 3, maxBitrate: 800_000, height: 480, maxFramerate: 30 },
  { participants: 4, maxBitrate: 500_000, height: 360, maxFramerate: 24 },
  { participants: Infinity, maxBitrate: 300_000, height: 240, maxFramerate: 20 },
];
/** Part of bitrate, height and frame rate that is left on each level. */
const PART = [0, 0.4, 0.7, 1];
const SCREEN = { all: 4_000_000, min: 300_000, max: 2_500_000 };
const AUDIO_BITRATE = 40_000;

/** Samples of a poor connection after which video is reduced: 4 s. */
const POOR_SAMPLES = 2;
/** Samples of a good connection after which video is raised by one level: 10 s. */
const GOOD_SAMPLES = 5;

/** Bounds of one video, as `RTCRtpEncodingParameters` takes them. */
export interface VideoBounds {
  active: boolean;
  maxBitrate: number;
  maxFramerate: number;
  scaleResolutionDownBy: number;
}

/** Bounds of the media that a page sends to one other participant. */
export interface MediaPlan {
  audio: { maxBitrate: number };
  camera: VideoBounds;
  screen: VideoBounds;
}

export interface Situation {
  /** Participants of the call, this page included. */
  participants: number;
  /** Level of the connection, 0 to `LEVEL_MAX`. */
  level?: number;
  /** Height of the camera's picture in pixels. */
  height?: number;
  /** Most participants whose cameras are sent. */
  videoMax?: number;
}

/** Returns the bounds of the media for one other participant. Sound is never reduced. */
export function planMedia({
  participants,
  level = LEVEL_MAX,
  height = 720,
  videoMax = VIDEO_PARTICIPANTS_MAX,
}: Situation): MediaPlan {
  const step = CAMERA.find((each) => participants <= each.participants)!;
  const part = PART[level]!;
  const screenPart = Math.max(part, PART[1]!);
  const share = SCREEN.all / Math.max(participants - 1, 1);
  return {
    audio: { maxBitrate: AUDIO_BITRATE },
    camera: {
      active: part > 0 && participants <= videoMax,
      maxBitrate: Math.round(step.maxBitrate * (part || 1)),
      maxFramerate: Math.round(step.maxFramerate * (part || 1)),
      scaleResolutionDownBy: Math.max(1, height / (step.height * (part || 1))),
    },
    // A screen is read: its resolution stays, and it goes on where cameras do not.
    screen: {
      active: true,
      maxBitrate: Math.round(Math.min(Math.max(share, SCREEN.min), SCREEN.max) * screenPart),
      maxFramerate: level === LEVEL_MAX && participants <= 4 ? 15 : 5,
      scaleResolutionDownBy: 1,
    },
  };
}

/** State of the adaptation of one connection. */
export interface Adaptation {
  level: number;
  /** Number of equal samples in a row: above 0 of good ones, below 0 of poor ones. */
  streak: number;
}

/** Takes a sample: reduces video soon on a poor connection, and raises it slowly on a good one. */
export function adapt({ level, streak }: Adaptation, quality: Quality): Adaptation {
  if (quality === "fair") return { level, streak: 0 };
  const next = quality === "good" ? Math.max(streak, 0) + 1 : Math.min(streak, 0) - 1;
  if (next <= -POOR_SAMPLES && level > 0) return { level: level - 1, streak: 0 };
  if (next >= GOOD_SAMPLES && level < LEVEL_MAX) return { level: level + 1, streak: 0 };
  return { level, streak: next };
}
