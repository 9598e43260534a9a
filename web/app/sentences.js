// The sentences that the user sees, by the code of an error. Codes are stable; the server's
// messages are for developers.
import { SwitchboardError } from "../vendor/switchboard.js";

const SENTENCES = {
  INVALID_CREDENTIALS: "That e-mail and password do not match.",
  TOKEN_EXPIRED: "Your sign-in has expired. Please sign in again.",
  TOKEN_INVALID: "Your sign-in is no longer valid. Please sign in again.",
  UNAUTHORIZED: "Please sign in first.",
  USER_NOT_FOUND: "There is no such account.",
  CALL_NOT_FOUND: "There is no call at this link.",
  CALL_ENDED: "This call has ended.",
  CALL_FULL: "This call is full.",
  INVALID_PASSCODE: "That passcode is wrong.",
  HOST_REQUIRED: "Only the host can do that.",
  ROOM_NOT_FOUND: "There is no call at this link.",
  ROOM_FULL: "This call is full.",
  ROOM_LOCKED: "The host has locked this call.",
  NOT_IN_ROOM: "You are not in this call.",
  PEER_NOT_FOUND: "That person has left.",
  BANNED: "You are banned from this call and cannot return.",
  REMOVED: "You were removed from this call.",
  VALIDATION_ERROR: "Something in the form is not valid.",
  INVALID_INPUT: "Something in the form is not valid.",
  PAYLOAD_TOO_LARGE: "That is too long to send.",
  RATE_LIMIT_EXCEEDED: "Too many requests. Please wait a moment.",
  SERVICE_UNAVAILABLE: "The service is not available right now. Please try again shortly.",
  UNREACHABLE: "Switchboard cannot be reached. Please check your connection.",
  QUEUE_FULL: "Switchboard cannot be reached. Please check your connection.",
  DATABASE_ERROR: "The service is not available right now. Please try again shortly.",
  UNKNOWN_EVENT: "This server does not support that.",
  BINARY_NOT_SUPPORTED: "This server does not accept files here.",
  ROOM_EXISTS: "There is already a call with this code.",
  ROUTE_NOT_FOUND: "This server does not support that.",
  UNSUPPORTED_MEDIA_TYPE: "The server did not understand this page. Please reload it.",
  INTERNAL_ERROR: "Something went wrong on our side. Please try again.",
  USER_EXISTS: "There is already an account with this e-mail address.",
  LEFT: "You have left the call.",
  DEVICE_DENIED:
    "The browser denied access. Click the symbol beside the address, allow camera and microphone, and turn the device on here.",
  DEVICE_MISSING: "No such device was found. Connect one and turn it on here.",
  DEVICE_BUSY: "Another program may be using it. Close that program and turn it on here.",
  INSECURE_ORIGIN:
    "Browsers allow cameras and microphones only on secure pages. Open this page with https:// to be seen and heard.",
};

/** Returns the sentence to show for an error of any kind. */
export function sentence(error) {
  if (!(error instanceof SwitchboardError)) return "Something went wrong on this page. Please reload it.";
  if (error.errors.length > 0)
    return error.errors.map(({ field, message }) => (field ? `${field}: ${message}` : message)).join("; ");
  // FORBIDDEN has many causes, so the server's message names the one.
  return SENTENCES[error.code] ?? (error.message || "Something went wrong. Please try again.");
}

const NAMES = { audio: "Microphone", video: "Camera" };

/** Returns the sentence for a device that could not be opened. */
export const deviceSentence = (kind, error) => `${NAMES[kind]}: ${sentence(error)}`;
