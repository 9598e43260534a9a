// Page before the call: shows the call, previews the devices, and asks for name and passcode.
import { SwitchboardError } from "../../vendor/switchboard.js";
import { field, h } from "../dom.js";
import { sentence } from "../sentences.js";
import { devicePreview } from "./devices.js";
import { WHO_MAY_JOIN, accountCard, brand, onSubmit } from "./home.js";
import { toastError } from "./toasts.js";

const OVER = new Set(["ended", "cancelled"]);
const GONE = new Set(["CALL_ENDED", "CALL_NOT_FOUND", "ROOM_NOT_FOUND"]);
// Refusals of a link that no room id can have.
const MALFORMED = new Set(["INVALID_INPUT", "VALIDATION_ERROR", "ROUTE_NOT_FOUND"]);

/**
 * @param {{switchboard: import("../../vendor/switchboard.js").Switchboard, local:
 *   import("../../vendor/switchboard.js").LocalMedia, roomId: string, home: () => void,
 *   admitted: (admission: object, options: object) => void}} context
 */
export function prejoinView({ switchboard, local, roomId, home, admitted }) {
  const side = h("div", { class: "prejoin-side" }, h("p", { class: "muted", role: "status" }, "Looking up the call…"));
  const preview = devicePreview(local);
  // The camera stays off, and its box away, until the call is known to exist.
  preview.element.hidden = true;
  const element = h(
    "div",
    { class: "prejoin" },
    h(
      "header",
      { class: "home-head" },
      h("button", { type: "button", class: "bare", onclick: home, "aria-label": "Switchboard, front page" }, brand()),
    ),
    h("div", { class: "prejoin-grid" }, preview.element, side),
  );

  /** Replaces the text beside the preview. A keyboard focus in it goes to its new heading. */
  function showBeside(title, ...content) {
    const focused = side.contains(document.activeElement);
    const heading = h("h1", { tabindex: "-1" }, title);
    side.replaceChildren(heading, ...content);
    if (focused) heading.focus();
  }

  function showCall(call) {
    showBeside(
      call.title,
      h("p", { class: "muted" }, summary(call)),
      admissionForm(call),
      ...(call.requiresAuth && !switchboard.account ? [accountCard(switchboard, lookUp)] : []),
    );
    preview.element.hidden = false;
    preview.start();
  }

  function admissionForm(call) {
    const { account } = switchboard;
    if (call.requiresAuth && !account) return h("p", {}, "This call is for people with an account.");
    const asksPasscode = (call.requiresPasscode ?? call.hasPasscode) && !(account && account.id === call.hostId);
    const form = h(
      "form",
      {},
      account
        ? h("p", {}, "You join as ", h("strong", {}, account.name), ".")
        : field("Your name", {
            name: "guestName",
            required: true,
            minlength: 2,
            maxlength: 100,
            autocomplete: "name",
            value: switchboard.user?.name,
          }).root,
      asksPasscode &&
        field("Passcode of the call", {
          name: "passcode",
          type: "password",
          minlength: 4,
          maxlength: 20,
          autocomplete: "off",
        }).root,
      h("button", { type: "submit", class: "primary" }, "Join the call"),
    );
    return onSubmit(form, async ({ guestName, passcode }) => {
      const admission = await switchboard.admit(roomId, { name: guestName?.trim(), passcode }).catch((error) => {
        // The call ended while this page was shown.
        if (GONE.has(error.code)) showNoCall();
        throw error;
      });
      preview.keep();
      admitted(admission, { passcode });
    });
  }

  /** Shows a text in place of the form, and closes the devices. */
  function showInstead(title, ...content) {
    preview.element.hidden = true;
    local.stop();
    showBeside(title, ...content);
  }

  const homeButton = () => h("button", { type: "button", class: "primary", onclick: home }, "Go to the front page");

  function showNoCall() {
    showInstead(
      "No call here",
      h("p", {}, "The call has ended, or this link is wrong. Ask for a new link, or start a call yourself."),
      homeButton(),
    );
  }

  /** Shows the host's own call when it is over. The server says whether it is too late to reopen it. */
  function showEnded(call) {
    const reopen = () => switchboard.reopenCall(call.id).then(lookUp, toastError);
    showInstead(
      call.title,
      h("p", {}, "This call is over. You can open it again for everyone who has the link."),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "secondary", onclick: reopen }, "Reopen the call"),
        homeButton(),
      ),
    );
  }

  /** Shows a failure that says nothing about the call: it may well exist. */
  function showRetry(error) {
    showInstead(
      "The call could not be looked up",
      h("p", { role: "status" }, sentence(error)),
      h("button", { type: "button", class: "primary", onclick: lookUp }, "Try again"),
    );
  }

  async function lookUp() {
    try {
      const call = await switchboard.call(roomId);
      if (!OVER.has(call.status)) showCall(call);
      else if (switchboard.account?.id === call.hostId) showEnded(call);
      else showNoCall();
    } catch (error) {
      if (GONE.has(error.code) || MALFORMED.has(error.code)) return showNoCall();
      showRetry(error);
      if (!(error instanceof SwitchboardError)) throw error;
    }
  }

  lookUp();
  return { title: "Join a call", element, closed: preview.closed };
}

function summary({ currentParticipants, maxParticipants, type, requiresInvitation }) {
  const present =
    currentParticipants === undefined
      ? ""
      : currentParticipants === 1
        ? "1 person is in the call. "
        : `${currentParticipants || "No"} people are in the call. `;
  const access = requiresInvitation ? "Only invited people may join" : `${WHO_MAY_JOIN[type]} may join`;
  return `${present}${access}${maxParticipants ? `, up to ${maxParticipants} people` : ""}.`;
}
