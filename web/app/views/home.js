// Front page: account, new call, and joining a call by its link.
import { field, h, icon } from "../dom.js";
import { linkTo, roomIn } from "../link.js";
import { toast, toastError } from "./toasts.js";

/** Who may join a call, by its type: where a call is created and where it is joined. */
export const WHO_MAY_JOIN = {
  public: "Anyone with the link",
  private: "People with an account",
  invited_only: "Only invited people",
};

// Field of a form that a refusal without a list of fields is about.
const FIELD_OF = { INVALID_PASSCODE: "passcode", INVALID_CREDENTIALS: "password", USER_EXISTS: "new-email" };

/**
 * Runs `action` when the form is submitted, once at a time. Shows refusals, and focuses the field
 * that one is about.
 */
export function onSubmit(form, action) {
  let busy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    const button = form.querySelector("button[type=submit]");
    // Does not set `disabled`, because that would remove the keyboard focus.
    button.setAttribute("aria-busy", "true");
    try {
      await action(Object.fromEntries(new FormData(form)));
    } catch (error) {
      toastError(error);
      const { code, errors: [first] = [] } = error;
      form.elements[first?.field ?? FIELD_OF[code]]?.focus?.();
    } finally {
      busy = false;
      button.removeAttribute("aria-busy");
    }
  });
  return form;
}

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
      account &&
        h(
          "div",
          { class: "who" },
          h("span", {}, account.name),
          h("button", { type: "button", class: "quiet", onclick: () => showId(account) }, "Show my id"),
          h("button", { type: "button", class: "quiet", onclick: () => (switchboard.signOut(), refresh()) }, "Sign out"),
        ),
    ),
    h(
      "div",
      { class: "home-grid" },
      h(
        "section",
        { class: "pitch" },
        h("h1", {}, "Video calls in your browser."),
        h(
          "p",
          {},
          "Start a call, send the link, talk. There is nothing to install, and guests need no account.",
        ),
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
  return { title: "Video calls", element };
}

function joinForm(open) {
  const { root, input } = field("Call link or code", {
    name: "room",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "K3F9QX2M7TBD",
  });
  const form = h("form", { class: "join-form" }, root, h("button", { type: "submit", class: "secondary" }, "Join"));
  return onSubmit(form, async () => {
    const roomId = roomIn(input.value.trim());
    if (roomId) open(roomId);
    else toast("That is not a call link or code.", "error");
  });
}

const showId = ({ id }) => toast(`Your id is ${id}. Anyone with this id can invite you to a call.`);

const SEATS_MAX = 500;

/** Creates the fields that most calls leave as they are. */
function moreOptions() {
  return h(
    "details",
    { class: "more" },
    h("summary", {}, "More options"),
    h(
      "div",
      { class: "more-fields" },
      field("Date and time", { name: "scheduledAt", type: "datetime-local" }, "Optional. Until then the call is scheduled.")
        .root,
      field(
        "Maximum number of participants",
        { name: "maxParticipants", type: "number", min: 2, max: SEATS_MAX, inputmode: "numeric" },
        "Optional. About 6 is a good number, because each sends to every other one.",
      ).root,
      field(
        "Invited people",
        { name: "invited", autocomplete: "off", spellcheck: "false" },
        "Optional: their ids, with blanks or commas between. Each person finds their own id at the top of this page.",
      ).root,
      h(
        "label",
        { class: "switch" },
        h("span", {}, "Waiting room: you admit each participant"),
        h("input", { type: "checkbox", name: "waitingRoom", role: "switch" }),
      ),
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
  const submit = h("button", { type: "submit", class: "primary" }, "Start a call");
  const form = h(
    "form",
    {},
    field("Title", {
      name: "title",
      required: true,
      maxlength: 200,
      autocomplete: "off",
      placeholder: "Monday stand-up",
    }).root,
    field(
      "Passcode",
      { name: "passcode", minlength: 4, maxlength: 20, autocomplete: "off", placeholder: "none" },
      "Optional, 4 to 20 characters. Participants need it to join.",
    ).root,
    h(
      "fieldset",
      { class: "choice" },
      h("legend", {}, "Who may join"),
      Object.entries(WHO_MAY_JOIN).map(([type, label]) =>
        h("label", {}, h("input", { type: "radio", name: "type", value: type, checked: type === "public" }), label),
      ),
    ),
    moreOptions(),
    submit,
  );
  const date = form.elements.scheduledAt;
  date.addEventListener("input", () => (submit.textContent = date.value ? "Schedule the call" : "Start a call"));
  onSubmit(form, async (fields) => {
    const { roomId } = await switchboard.createCall(newCall(fields));
    if (!fields.scheduledAt) return open(roomId);
    refresh();
    toast(`The call is scheduled. Its link is ${linkTo(roomId)}`);
  });
  return h(
    "section",
    { class: "card", "aria-labelledby": "create-title" },
    h("h2", { id: "create-title" }, "New call"),
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
const dateOf = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Lists the calls that can be joined, up to CALLS_MAX of each status. */
async function openCalls(switchboard) {
  const calls = [];
  for (const options of OPEN_CALLS) calls.push(...(await switchboard.calls({ ...options, limit: CALLS_MAX })));
  return calls;
}

function callsCard(switchboard, open) {
  const list = h("ul", { class: "calls" });
  const card = h(
    "section",
    { class: "card", hidden: true, "aria-labelledby": "calls-title" },
    h("h2", { id: "calls-title" }, "Your calls"),
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
            hasPasscode && icon("lock"),
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
    field("E-mail", { name: "email", type: "email", required: true, autocomplete: "username" }).root,
    field("Password", { name: "password", type: "password", required: true, autocomplete: "current-password" }).root,
    h("button", { type: "submit", class: "primary" }, "Sign in"),
  );
  const signUp = h(
    "form",
    { hidden: true },
    field("Your name", { name: "name", required: true, minlength: 2, maxlength: 100, autocomplete: "name" }).root,
    field("E-mail address", { name: "new-email", type: "email", required: true, autocomplete: "username" }).root,
    field(
      "New password",
      {
        name: "new-password",
        type: "password",
        required: true,
        minlength: 8,
        maxlength: 128,
        autocomplete: "new-password",
      },
      "At least 8 characters.",
    ).root,
    h("button", { type: "submit", class: "primary" }, "Create account"),
  );
  onSubmit(signIn, async (form) => (await switchboard.signIn(form), done()));
  onSubmit(signUp, async (form) => {
    await switchboard.register({ name: form.name.trim(), email: form["new-email"], password: form["new-password"] });
    done();
  });

  const forms = [signIn, signUp];
  const tabs = ["Sign in", "Sign up"].map((label, index) =>
    h(
      "button",
      {
        type: "button",
        role: "tab",
        class: "tab",
        id: `account-tab-${index}`,
        "aria-controls": `account-form-${index}`,
        onclick: () => select(index),
        onkeydown: (event) => arrow(event, index),
      },
      label,
    ),
  );
  forms.forEach((form, index) => {
    form.id = `account-form-${index}`;
    form.setAttribute("role", "tabpanel");
    form.setAttribute("aria-labelledby", `account-tab-${index}`);
  });
  function select(chosen) {
    forms.forEach((form, index) => (form.hidden = index !== chosen));
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
    { class: "card", "aria-label": "Account" },
    h("div", { role: "tablist", class: "tabs", "aria-label": "Account" }, tabs),
    forms,
  );
}
