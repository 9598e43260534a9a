// The sentences that the user sees for errors, by their code. Codes are stable; the server's
// messages are for developers.
import { SwitchboardError } from "../vendor/switchboard.js";
import { CATALOGUE } from "./catalogue.js";
import { t } from "./language.js";

/** Returns the sentence to show for an error of any kind. */
export function sentence(error) {
  if (!(error instanceof SwitchboardError)) return t("brokenPage");
  if (error.errors.length > 0)
    return error.errors.map(({ field, message }) => (field ? `${field}: ${message}` : message)).join("; ");
  // FORBIDDEN has many causes, so the server's message names the one.
  return error.code in CATALOGUE ? t(error.code) : error.message || t("unknownError");
}

const NAMES = { audio: "microphoneTitle", video: "cameraTitle" };

/** Returns the sentence for a device that could not be opened. */
export const deviceSentence = (kind, error) =>
  t("deviceProblem", { device: t(NAMES[kind]), problem: sentence(error) });
