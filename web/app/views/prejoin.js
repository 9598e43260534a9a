// Page before the call: shows the call, previews the devices, and asks for name and passcode.
import { SwitchboardError } from "../../vendor/switchboard.js";
import { field, h } from "../dom.js";
import { languageChoice, t } from "../language.js";
import { sentence } from "../sentences.js";
import { devicePreview } from "./devices.js";
import { onSubmit } from "./forms.js";
import { accountCard, brand } from "./home.js";
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
  const side = h("div", { class: "prejoin-side" }, h("p", { class: "muted", role: "status" }, t("lookingUp")));
  const preview = devicePreview(local);
  // The camera stays off, and its box away, until the call is known to exist.
  preview.element.hidden = true;
  const element = h(
    "div",
    { class: "prejoin" },
    h(
      "header",
      { class: "home-head" },
      h("button", { type: "button", class: "bare", onclick: home, "aria-label": t("frontPage") }, brand()),
      languageChoice(),
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
    if (call.requiresAuth && !account) return h("p", {}, t("needsAccount"));
    const asksPasscode = (call.requiresPasscode ?? call.hasPasscode) && !(account && account.id === call.hostId);
    const form = h(
      "form",
      {},
      account
        ? h("p", {}, t("youJoinAs", { name: account.name }))
        : field(t("yourName"), {
            name: "guestName",
            required: true,
            minlength: 2,
            maxlength: 100,
            autocomplete: "name",
            value: switchboard.user?.name,
          }).root,
      asksPasscode &&
        field(t("passcodeOfCall"), {
          name: "passcode",
          type: "password",
          minlength: 4,
          maxlength: 20,
          autocomplete: "off",
        }).root,
      h("button", { type: "submit", class: "primary" }, t("joinTheCall")),
    );
    return onSubmit(form, async ({ guestName, passcode }) => {
      const admission = await switchboard.admit(roomId, { name: guestName?.trim(), passcode }).catch((error) => {
        // The call ended while this page was shown.
        if (GONE.has(error.code)) showNoCall();
        throw error;
      });
      // The user has gone elsewhere meanwhile, and the devices were closed with the view.
      if (closed) return;
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

  const homeButton = () => h("button", { type: "button", class: "primary", onclick: home }, t("goHome"));

  function showNoCall() {
    showInstead(
      t("noCall"),
      h("p", {}, t("noCallText")),
      homeButton(),
    );
  }

  /**
   * Shows the host's own call when it is over. The server says whether it is too late to reopen it.
   */
  function showEnded(call) {
    const reopen = () => switchboard.reopenCall(call.id).then(lookUp, toastError);
    showInstead(
      call.title,
      h("p", {}, t("endedText")),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "secondary", onclick: reopen }, t("reopen")),
        homeButton(),
      ),
    );
  }

  /** Shows a failure that says nothing about the call: it may well exist. */
  function showRetry(error) {
    showInstead(
      t("lookUpFailed"),
      h("p", { role: "status" }, sentence(error)),
      h("button", { type: "button", class: "primary", onclick: lookUp }, t("tryAgain")),
    );
  }

  let closed = false;
  async function lookUp() {
    try {
      const call = await switchboard.call(roomId);
      // The user has gone on meanwhile.
      if (closed) return;
      if (!OVER.has(call.status)) showCall(call);
      else if (switchboard.account?.id === call.hostId) showEnded(call);
      else showNoCall();
    } catch (error) {
      if (closed) return;
      if (GONE.has(error.code) || MALFORMED.has(error.code)) return showNoCall();
      showRetry(error);
      if (!(error instanceof SwitchboardError)) throw error;
    }
  }

  lookUp();
  const close = () => {
    closed = true;
    preview.closed();
  };
  return { title: t("joinACall"), element, closed: close };
}

const ACCESS = { public: "accessPublic", private: "accessPrivate", invited_only: "accessInvited" };
const PRESENT = ["presentNone", "presentOne"];

function summary({ currentParticipants: count, maxParticipants, type, requiresInvitation }) {
  const present = count === undefined ? "" : t(PRESENT[count] ?? "presentMany", { count });
  const access = t(requiresInvitation ? "accessInvited" : ACCESS[type]);
  return `${present}${access}${maxParticipants ? t("upTo", { count: maxParticipants }) : ""}.`;
}
