// Dialog in which the host changes the call's settings.
import { field, h, switchRow } from "../dom.js";
import { t } from "../language.js";
import { closeButton, openDialog } from "./dialogs.js";
import { onSubmit, seatsField } from "./forms.js";
import { toast } from "./toasts.js";

const SETTINGS = {
  waitingRoomEnabled: "setWaitingRoom",
  autoAdmitGuests: "setAutoAdmit",
  joinMuted: "setJoinMuted",
  audioEnabled: "setAudio",
  videoEnabled: "setVideo",
  screenShareEnabled: "setScreen",
  allowParticipantScreenShare: "setParticipantScreen",
  allowParticipantUnmute: "setUnmute",
  chatEnabled: "setChat",
  chatHistoryEnabled: "setHistory",
};

/** Opens the dialog with the current settings. Saving sends only the changed ones. */
export function openSettings(room) {
  const before = { ...room.settings };
  const name = field(t("title"), { name: "name", required: true, maxlength: 200, autocomplete: "off", value: room.name });
  const seats = seatsField({ required: true, value: room.maxParticipants });
  const switches = Object.entries(SETTINGS).map(([setting, label]) => {
    return { setting, ...switchRow(t(label), { name: setting, checked: before[setting] !== false }) };
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
    h("fieldset", { class: "switches" }, h("legend", {}, t("inThisCall")), ...switches.map(({ row }) => row)),
    h("p", { class: "muted" }, t("setWaitingNote")),
    h("p", { class: "muted" }, t("setModeratorNote")),
    h(
      "div",
      { class: "row" },
      closeButton(t("cancel")),
      h("button", { type: "submit", class: "primary" }, t("save")),
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
      await room.moderation.update({ settings: { autoAdmitGuests: true } });
    }
    dialog.close();
    toast(t("settingsSaved"));
  });
  const dialog = openDialog({ title: t("callSettings"), class: "settings", content: [form] });
}
