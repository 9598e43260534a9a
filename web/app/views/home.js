// Front page: account, new call, and joining a call by its link.
import { field, h, icon } from "../dom.js";
import { roomIn } from "../link.js";
import { toast, toastError } from "./toasts.js";

/** Who may join a call, by its type: where a call is created and where it is joined. */
export const WHO_MAY_JOIN = {
  public: "Anyone with the link",
  private: "People with an account",
  invited_only: "Only invited people",
};

/** Runs `action` when the form is submitted. Disables its button meanwhile and shows refusals. */
export function onSubmit(form, action) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    button.disabled = true;
    try {
      await action(Object.fromEntries(new FormData(form)));
    } catch (error) {
      toastError(error);
    } finally {
      button.disabled = false;
    }
  });
  return form;
}

/** Creates the logo with the product's name. */
export const brand = () =>
  h(
    "div",
    { class: "brand" },
    h("img", { src: "/favicon.svg", alt: "", width: 36, height: 36 }),
    h("span", {}, "Switchboard"),
  );

/**
 * @param {{api: import("../api.js").Api, session: import("../session.js").Session,
 *   open: (roomId: string) => void, refresh: () => void}} context
 */
export function homeView({ api, session, open, refresh }) {
  const account = session.account;
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
          h("button", { type: "button", class: "quiet", onclick: () => (api.logout(), refresh()) }, "Sign out"),
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
        account ? createCard(api, open) : accountCard(api, refresh),
        account && callsCard(api, open),
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

function createCard(api, open) {
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
      h(
        "label",
        {},
        h("input", { type: "radio", name: "type", value: "public", checked: true }),
        WHO_MAY_JOIN.public,
      ),
      h("label", {}, h("input", { type: "radio", name: "type", value: "private" }), WHO_MAY_JOIN.private),
    ),
    h("button", { type: "submit", class: "primary" }, "Start a call"),
  );
  onSubmit(form, async ({ title, passcode, type }) => {
    const call = await api.createCall({ title: title.trim(), type, ...(passcode && { passcode }) });
    open((call.call ?? call).roomId);
  });
  return h(
    "section",
    { class: "card", "aria-labelledby": "create-title" },
    h("h2", { id: "create-title" }, "New call"),
    form,
  );
}

function callsCard(api, open) {
  const list = h("ul", { class: "calls" });
  const card = h(
    "section",
    { class: "card", hidden: true, "aria-labelledby": "calls-title" },
    h("h2", { id: "calls-title" }, "Your calls"),
    list,
  );
  api.myCalls().then((data) => {
    const calls = (Array.isArray(data) ? data : (data.calls ?? [])).filter(
      ({ status }) => !["ended", "cancelled"].includes(status),
    );
    list.append(
      ...calls.map(({ title, roomId, hasPasscode }) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "call-row", onclick: () => open(roomId) },
            h("strong", {}, title),
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
export function accountCard(api, done) {
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
  onSubmit(signIn, async (form) => (await api.login(form), done()));
  onSubmit(signUp, async (form) => {
    await api.register({ name: form.name.trim(), email: form["new-email"], password: form["new-password"] });
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
