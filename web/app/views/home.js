// Front page: account, new call, and joining a call by its link.
import { field, h, icon, switchRow } from "../dom.js";
import { dateFormat, languageChoice, t } from "../language.js";
import { linkTo, roomIn } from "../link.js";
import { onSubmit, seatsField } from "./forms.js";
import { toast, toastError } from "./toasts.js";

/** Keys of the sentences that say who may join a call, by its type. */
const WHO_MAY_JOIN = { public: "mayJoinPublic", private: "mayJoinPrivate", invited_only: "mayJoinInvited" };

/** Creates the logo with the product's name. */
export const brand = () =>
  h(
    "div",
    { class: "brand" },
    h("img", { src: "favicon.svg", alt: "", width: 36, height: 36 }),
    h("span", {}, "Switchboard"),
  );

/**
 * @param {{switchboard: import("../../vendor/switchboard.js").Switchboard,
 *   open: (roomId: string) => void, refresh: () => void}} context
 */
export function homeView({ switchboard, open, refresh }) {
  const { account } = switchboard;
  const element = h(
    "div",
    { class: "home" },
    h(
      "header",
      { class: "home-head" },
      brand(),
      languageChoice(),
      h(
        "div",
        { class: "who", hidden: !account },
        account && h("span", {}, account.name),
        account && h("button", { type: "button", class: "quiet", onclick: () => showId(account) }, t("showId")),
        account && h("button", { type: "button", class: "quiet", onclick: () => (switchboard.signOut(), refresh()) }, t("signOut")),
      ),
    ),
    h(
      "div",
      { class: "home-grid" },
      h(
        "section",
        { class: "pitch" },
        h("h1", {}, t("pitchTitle")),
        h("p", {}, t("pitch")),
        joinForm(open),
      ),
      h(
        "div",
        { class: "stack" },
        account ? createCard(switchboard, open, refresh) : accountCard(switchboard, refresh),
        account && callsCard(switchboard, open),
      ),
    ),
  );
  return { title: t("videoCalls"), element };
}

function joinForm(open) {
  const { root, input } = field(t("linkOrCode"), {
    name: "room",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "K3F9QX2M7TBD",
  });
  const form = h("form", { class: "join-form" }, root, h("button", { type: "submit", class: "secondary" }, t("join")));
  return onSubmit(form, async () => {
    const roomId = roomIn(input.value.trim());
    if (roomId) open(roomId);
    else toast(t("notALink"), "error");
  });
}

const showId = ({ id }) => toast(t("yourId", { id }));

/** Creates the fields that most calls leave as they are. */
function moreOptions() {
  return h(
    "details",
    { class: "more" },
    h("summary", {}, t("moreOptions")),
    h(
      "div",
      { class: "more-fields" },
      field(t("dateAndTime"), { name: "scheduledAt", type: "datetime-local" }, t("dateHint")).root,
      seatsField({}, t("seatsHint")).root,
      field(
        t("invited"),
        { name: "invited", autocomplete: "off", spellcheck: "false" },
        t("invitedHint"),
      ).root,
      switchRow(t("waitingRoomOption"), { name: "waitingRoom" }).row,
    ),
  );
}

/** Returns the new call that a form describes. */
function newCall({ title, passcode, type, scheduledAt, maxParticipants, invited = "", waitingRoom }) {
  const invitedUserIds = invited.split(/[\s,;]+/).filter(Boolean);
  return {
    title: title.trim(),
    type,
    ...(passcode && { passcode }),
    ...(scheduledAt && { scheduledAt: new Date(scheduledAt).toISOString() }),
    ...(maxParticipants && { maxParticipants: Number(maxParticipants) }),
    ...(invitedUserIds.length > 0 && { invitedUserIds }),
    ...(waitingRoom && { settings: { waitingRoomEnabled: true } }),
  };
}

function createCard(switchboard, open, refresh) {
  const submit = h("button", { type: "submit", class: "primary" }, t("startCall"));
  const form = h(
    "form",
    {},
    field(t("title"), {
      name: "title",
      required: true,
      maxlength: 200,
      autocomplete: "off",
      placeholder: t("titleExample"),
    }).root,
    field(
      t("passcode"),
      { name: "passcode", minlength: 4, maxlength: 20, autocomplete: "off", placeholder: t("none") },
      t("passcodeHint"),
    ).root,
    h(
      "fieldset",
      { class: "choice" },
      h("legend", {}, t("whoMayJoin")),
      Object.entries(WHO_MAY_JOIN).map(([type, label]) =>
        h("label", {}, h("input", { type: "radio", name: "type", value: type, checked: type === "public" }), t(label)),
      ),
    ),
    moreOptions(),
    submit,
  );
  const date = form.elements.scheduledAt;
  date.addEventListener("input", () => (submit.textContent = t(date.value ? "scheduleCall" : "startCall")));
  onSubmit(form, async (fields) => {
    const { roomId } = await switchboard.createCall(newCall(fields));
    if (!fields.scheduledAt) return open(roomId);
    refresh();
    toast(t("scheduled", { link: linkTo(roomId) }));
  });
  return h(
    "section",
    { class: "card", "aria-labelledby": "create-title" },
    h("h2", { id: "create-title" }, t("newCall")),
    form,
  );
}

// Calls that can be joined, in the order in which they are listed, each with its own sort.
const OPEN_CALLS = [
  { status: "live", sort: "startedAt", order: "desc" },
  { status: "scheduled", sort: "scheduledAt", order: "asc" },
  { status: "waiting", sort: "createdAt", order: "desc" },
];
const CALLS_MAX = 6;

/** Lists the calls that can be joined, up to CALLS_MAX of each status. */
async function openCalls(switchboard) {
  const calls = [];
  for (const options of OPEN_CALLS) calls.push(...(await switchboard.calls({ ...options, limit: CALLS_MAX })));
  return calls;
}

function callsCard(switchboard, open) {
  const dateOf = dateFormat({ dateStyle: "medium", timeStyle: "short" });
  const list = h("ul", { class: "calls" });
  const card = h(
    "section",
    { class: "card", hidden: true, "aria-labelledby": "calls-title" },
    h("h2", { id: "calls-title" }, t("yourCalls")),
    list,
  );
  openCalls(switchboard).then((calls) => {
    list.append(
      ...calls.map(({ title, roomId, hasPasscode, scheduledAt }) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "call-row", title, onclick: () => open(roomId) },
            h("strong", {}, title),
            scheduledAt && h("time", { datetime: scheduledAt }, dateOf.format(new Date(scheduledAt))),
            hasPasscode && h("span", { role: "img", class: "locked", "aria-label": t("withPasscode") }, icon("lock")),
            h("code", {}, roomId),
          ),
        ),
      ),
    );
    card.hidden = calls.length === 0;
  }, toastError);
  return card;
}

/** Creates the card with sign-in and sign-up. The page before a private call shows it too. */
export function accountCard(switchboard, done) {
  const signIn = h(
    "form",
    {},
    field(t("email"), { name: "email", type: "email", required: true, autocomplete: "username" }).root,
    field(t("password"), { name: "password", type: "password", required: true, autocomplete: "current-password" }).root,
    h("button", { type: "submit", class: "primary" }, t("signIn")),
  );
  const signUp = h(
    "form",
    {},
    field(t("yourName"), { name: "name", required: true, minlength: 2, maxlength: 100, autocomplete: "name" }).root,
    field(t("emailAddress"), { name: "new-email", type: "email", required: true, autocomplete: "username" }).root,
    field(
      t("newPassword"),
      {
        name: "new-password",
        type: "password",
        required: true,
        minlength: 8,
        maxlength: 128,
        autocomplete: "new-password",
      },
      t("passwordHint"),
    ).root,
    h("button", { type: "submit", class: "primary" }, t("createAccount")),
  );
  onSubmit(signIn, async (form) => (await switchboard.signIn(form), done()));
  onSubmit(signUp, async (form) => {
    await switchboard.register({ name: form.name.trim(), email: form["new-email"], password: form["new-password"] });
    done();
  });

  // A form may not have the role of a panel itself.
  const panels = [signIn, signUp].map((form, index) =>
    h("div", { role: "tabpanel", id: `account-panel-${index}`, "aria-labelledby": `account-tab-${index}` }, form),
  );
  const tabs = [t("signIn"), t("signUp")].map((label, index) =>
    h(
      "button",
      {
        type: "button",
        role: "tab",
        class: "tab",
        id: `account-tab-${index}`,
        "aria-controls": `account-panel-${index}`,
        onclick: () => select(index),
        onkeydown: (event) => arrow(event, index),
      },
      label,
    ),
  );
  function select(chosen) {
    panels.forEach((panel, index) => (panel.hidden = index !== chosen));
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", index === chosen);
      tab.tabIndex = index === chosen ? 0 : -1;
    });
  }
  function arrow(event, index) {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    select(1 - index);
    tabs[1 - index].focus();
  }
  select(0);
  return h(
    "section",
    { class: "card", "aria-label": t("account") },
    h("div", { role: "tablist", class: "tabs", "aria-label": t("account") }, tabs),
    panels,
  );
}
