// Dialog in which the host changes the call's settings.
import { field, h } from "../dom.js";
import { onSubmit } from "./home.js";
import { toast } from "./toasts.js";

const SETTINGS = {
  waitingRoomEnabled: "Waiting room",
  autoAdmitGuests: "Guests skip the waiting room",
  joinMuted: "New participants join muted",
  audioEnabled: "Microphones",
  videoEnabled: "Cameras",
  screenShareEnabled: "Screen sharing",
  allowParticipantScreenShare: "Participants may share their screen",
  allowParticipantUnmute: "Muted participants may unmute themselves",
  chatEnabled: "Chat",
  chatHistoryEnabled: "New participants see earlier messages",
};

/** Opens the dialog with the current settings. Saving sends only the changed ones. */
export function openSettings(room) {
  const before = { ...room.settings };
  const name = field("Title", { name: "name", required: true, maxlength: 200, autocomplete: "off", value: room.name });
  const seats = field("Maximum number of participants", {
    name: "maxParticipants",
    type: "number",
    min: 2,
    max: 500,
    required: true,
    value: room.maxParticipants,
  });
  const switches = Object.entries(SETTINGS).map(([setting, label]) => {
    const input = h("input", { type: "checkbox", name: setting, role: "switch", checked: before[setting] !== false });
    return { setting, input, row: h("label", { class: "switch" }, h("span", {}, label), input) };
  });
  // The server makes guests wait when the waiting room is switched on. The dialog shows that.
  const inputs = Object.fromEntries(switches.map(({ setting, input }) => [setting, input]));
  const switchedOn = () => inputs.waitingRoomEnabled.checked && !before.waitingRoomEnabled;
  inputs.waitingRoomEnabled.addEventListener("change", () => {
    inputs.autoAdmitGuests.checked = switchedOn() ? false : before.autoAdmitGuests !== false;
  });
  const form = h(
    "form",
    {},
    name.root,
    seats.root,
    h("fieldset", { class: "switches" }, h("legend", {}, "In this call"), ...switches.map(({ row }) => row)),
    h("p", { class: "muted" }, "With the waiting room, guests wait too, unless you let them skip it."),
    h("p", { class: "muted" }, "The host and moderators may always use camera, microphone and screen sharing."),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, "Cancel"),
      h("button", { type: "submit", class: "primary" }, "Save"),
    ),
  );
  onSubmit(form, async () => {
    const changed = switches.filter(
      ({ setting, input }) =>
        input.checked !== (before[setting] !== false) || (setting === "autoAdmitGuests" && switchedOn()),
    );
    await room.moderation.update({
      name: name.input.value.trim(),
      maxParticipants: Number(seats.input.value),
      settings: Object.fromEntries(changed.map(({ setting, input }) => [setting, input.checked])),
    });
    // A value that the call had before does not let guests skip the waiting room. It does now.
    if (switchedOn() && inputs.autoAdmitGuests.checked) {
      await call.moderation.update({ settings: { autoAdmitGuests: true } });
    }
    dialog.close();
    toast("Call settings are saved.");
  });
  const dialog = h(
    "dialog",
    { class: "card settings", "aria-labelledby": "settings-title", onclose: () => dialog.remove() },
    h("h2", { id: "settings-title" }, "Call settings"),
    form,
  );
  document.querySelector(".call").append(dialog);
  dialog.showModal();
}
