// Quality of a connection, from the statistics of WebRTC.

export type Quality = "good" | "fair" | "poor";

/** Measurements of a connection over the last two seconds. */
export interface ConnectionQuality {
  /** The worse of both directions. */
  quality: Quality;
  /** Round-trip time in milliseconds, or null if it is not known. */
  rtt: number | null;
  /** Part of the packets from the participant that was lost, 0 to 1. */
  lossIn: number;
  /** Part of the packets to the participant that was lost, 0 to 1. */
  lossOut: number;
  /** Bit/s from the participant. */
  bitrateIn: number;
  /** Bit/s to the participant. */
  bitrateOut: number;
}

/** Returns the quality for a round-trip time in milliseconds and a part of lost packets. */
export function grade(rtt: number | null, loss: number): Quality {
  if (loss > 0.1 || (rtt ?? 0) > 600) return "poor";
  return loss > 0.03 || (rtt ?? 0) > 300 ? "fair" : "good";
}

/**
 * Age of a report of the other side, in milliseconds, above which it describes a medium that is not
 * sent any more.
 */
const REPORT_AGE_MAX_MS = 6_000;

/** Sums of the statistics of a connection at one time. @internal */
export interface Counters {
  /** Milliseconds since 1970, as in `report.timestamp`. */
  at: number;
  rtt: number | null;
  lossOut: number;
  bytesReceived: number;
  bytesSent: number;
  packetsReceived: number;
  packetsLost: number;
}

/** Adds up the reports of `getStats`. @internal */
export function countersOf(reports: Iterable<Record<string, any>>, at: number): Counters {
  const sums: Counters = { at, rtt: null, lossOut: 0, bytesReceived: 0, bytesSent: 0, packetsReceived: 0, packetsLost: 0 };
  for (const report of reports) {
    if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime !== undefined) {
      sums.rtt = report.currentRoundTripTime * 1_000;
    } else if (report.type === "inbound-rtp") {
      sums.bytesReceived += report.bytesReceived ?? 0;
      sums.packetsReceived += report.packetsReceived ?? 0;
      sums.packetsLost += report.packetsLost ?? 0;
    } else if (report.type === "outbound-rtp") {
      sums.bytesSent += report.bytesSent ?? 0;
    } else if (report.type === "remote-inbound-rtp" && !(at - report.timestamp > REPORT_AGE_MAX_MS)) {
      sums.lossOut = Math.max(sums.lossOut, report.fractionLost ?? 0);
    }
  }
  return sums;
}

/** Returns the quality between two samples of one connection. @internal */
export function measure(now: Counters, before: Counters): ConnectionQuality {
  const seconds = Math.max((now.at - before.at) / 1_000, 0.001);
  const rate = (counter: "bytesReceived" | "bytesSent") =>
    Math.round((Math.max(now[counter] - before[counter], 0) * 8) / seconds);
  // A late packet lowers the count of lost ones.
  const lost = Math.max(now.packetsLost - before.packetsLost, 0);
  const came = Math.max(now.packetsReceived - before.packetsReceived, 0);
  const lossIn = lost + came === 0 ? 0 : lost / (lost + came);
  const { rtt, lossOut } = now;
  return {
    quality: grade(rtt, Math.max(lossIn, lossOut)),
    rtt,
    lossIn,
    lossOut,
    bitrateIn: rate("bytesReceived"),
    bitrateOut: rate("bytesSent"),
  };
}
