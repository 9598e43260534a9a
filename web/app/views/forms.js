// Forms: submitting them, refusals at their fields, and the fields that two forms have.
import { field, setFieldError } from "../dom.js";
import { isEnglish, t } from "../language.js";
import { sentence } from "../sentences.js";
import { toastError } from "./toasts.js";

// Field of a form that a refusal without a list of fields is about.
const FIELD_OF = { INVALID_PASSCODE: "passcode", INVALID_CREDENTIALS: "password", USER_EXISTS: "new-email" };

/**
 * Runs `action` when the form is submitted, once at a time. Shows a refusal at the field that it is
 * about, which gets the focus, or as a notice.
 */
export function onSubmit(form, action) {
  let busy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    for (const input of form.querySelectorAll("[aria-invalid=true]")) setFieldError(input, null);
    const button = form.querySelector("button[type=submit]");
    // Does not set `disabled`, because that would remove the keyboard focus.
    button.setAttribute("aria-busy", "true");
    try {
      await action(Object.fromEntries(new FormData(form)));
    } catch (error) {
      const { code, errors: [first] = [] } = error;
      const wrong = form.elements[first?.field ?? FIELD_OF[code]];
      if (!wrong?.select) return toastError(error);
      const isEmpty = code === "INVALID_PASSCODE" && !wrong.value;
      setFieldError(wrong, isEmpty ? t("passcodeNeeded") : ((isEnglish() && first?.message) || sentence(error)));
      // The field may be folded away. Typing replaces the refused text.
      const details = wrong.closest("details");
      if (details) details.open = true;
      wrong.focus();
      wrong.select();
    } finally {
      busy = false;
      button.removeAttribute("aria-busy");
    }
  });
  return form;
}

/** Most seats that a call may have. */
const SEATS_MAX = 500;

/** Creates the field for the number of seats of a call. */
export const seatsField = (attributes, hint) =>
  field(t("seats"), { name: "maxParticipants", type: "number", min: 2, max: SEATS_MAX, inputmode: "numeric", ...attributes }, hint);
