// The host's settings of the call, in a dialog.
import { field, h } from "../dom.js";
import { onSubmit } from "./home.js";
import { toast } from "./toasts.js";

const SETTINGS = {
  waitingRoomEnabled: "People wait to be let in",
  autoAdmitGuests: "Guests need not wait",
  audioEnabled: "Microphones",
  videoEnabled: "Cameras",
  screenShareEnabled: "Screen sharing",
  allowParticipantScreenShare: "Everybody may share a screen",
  allowParticipantUnmute: "Whoever was muted may unmute",
  chatEnabled: "Chat",
  chatHistoryEnabled: "Whoever comes later can read the chat",
};

/** Opens the dialog. It shows the call as it is now, and sends what was changed. */
export function openSettings(call) {
  const { room } = call;
  const before = { ...room.settings };
  const name = field("Title", { name: "name", required: true, maxlength: 200, autocomplete: "off", value: room.name });
  const seats = field("Most people at a time", {
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
  const form = h(
    "form",
    {},
    name.root,
    seats.root,
    h("fieldset", { class: "switches" }, h("legend", {}, "In this call"), ...switches.map(({ row }) => row)),
    h("p", { class: "muted" }, "Host and moderators may use camera, microphone and screen in any case."),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, "Cancel"),
      h("button", { type: "submit", class: "primary" }, "Save"),
    ),
  );
  onSubmit(form, async () => {
    const changed = switches.filter(({ setting, input }) => input.checked !== (before[setting] !== false));
    await call.moderation.update({
      name: name.input.value.trim(),
      maxParticipants: Number(seats.input.value),
      settings: Object.fromEntries(changed.map(({ setting, input }) => [setting, input.checked])),
    });
    dialog.close();
    toast("The call's settings are saved.");
  });
  const dialog = h(
    "dialog",
    { class: "card settings", "aria-labelledby": "settings-title", onclose: () => dialog.remove() },
    h("h2", { id: "settings-title" }, "Settings of the call"),
    form,
  );
  document.querySelector(".call").append(dialog);
  dialog.showModal();
}
