// The sentences that the user sees for errors, by their code. Codes are stable; the server's
// messages are for developers.
import { SwitchboardError } from "../vendor/switchboard.js";
import { CATALOGUE } from "./catalogue.js";
import { isEnglish, t } from "./language.js";

/** Returns the sentence to show for an error of any kind. */
export function sentence(error) {
  if (!(error instanceof SwitchboardError)) return t("brokenPage");
  // The server's messages are English, and more exact than the sentence for a code.
  if (error.errors.length > 0 && isEnglish())
    return error.errors.map(({ field, message }) => (field ? `${field}: ${message}` : message)).join("; ");
  // FORBIDDEN has many causes, which only the message tells apart.
  if (error.code === "FORBIDDEN" && isEnglish() && error.message) return error.message;
  return Object.hasOwn(CATALOGUE, error.code) ? t(error.code) : t("unknownError");
}

const DEVICES = { audio: "microphoneTitle", video: "cameraTitle", speaker: "speakerTitle" };

/** Returns the title of a kind of device. @param {"audio" | "video" | "speaker"} kind */
export const deviceTitle = (kind) => t(DEVICES[kind]);

/** Returns the sentence for a device that could not be opened. */
export const deviceSentence = (kind, error) =>
  t("deviceProblem", { device: deviceTitle(kind), problem: sentence(error) });
