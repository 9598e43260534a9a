// The chat panel. Every message becomes a text node.
import { h, icon } from "../dom.js";
import { toastError } from "./toasts.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** @param {{chat: import("../chat.js").Chat}} context */
export function chatPanel({ chat }) {
  const log = h("ol", { class: "messages", role: "log", "aria-label": "Messages", tabindex: "0" });
  const empty = h(
    "p",
    { class: "muted chat-empty" },
    "Nothing has been said here yet. Messages reach everybody in the call.",
  );
  const typing = h("p", { class: "typing muted", "aria-live": "polite" });
  const input = h("textarea", {
    name: "message",
    rows: 1,
    maxlength: 4000,
    placeholder: "Write a message",
    "aria-label": "Message",
    autocomplete: "off",
    oninput: () => (input.value ? chat.startTyping() : chat.stopTyping()),
    onkeydown: (event) => {
      // Composition ends with Enter in many languages; that Enter sends nothing.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    },
  });
  const form = h(
    "form",
    { class: "composer", onsubmit: send },
    input,
    h("button", { type: "submit", class: "round primary", "aria-label": "Send" }, icon("send")),
  );

  async function send(event) {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    try {
      await chat.send(text);
    } catch (error) {
      toastError(error);
      // What was refused is not lost, unless something else was written meanwhile.
      input.value ||= text;
    }
  }

  let shown = 0;
  function render() {
    const { messages } = chat;
    empty.hidden = messages.length > 0;
    const names = [...chat.typing.values()];
    typing.textContent = names.length === 0 ? "" : `${names.join(", ")} ${names.length === 1 ? "is" : "are"} typing…`;
    if (messages.length === shown) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    log.replaceChildren(...messages.map(item));
    if (atEnd || messages.at(-1)?.mine) log.scrollTop = log.scrollHeight;
    shown = messages.length;
  }

  return {
    title: "Chat",
    element: h("div", { class: "chat" }, empty, log, typing, form),
    render,
    opened: () => {
      log.scrollTop = log.scrollHeight;
      input.focus();
    },
  };
}

function item({ mine, fromUser, message, timestamp }, index, all) {
  const previous = all[index - 1];
  const sameSender = previous && previous.mine === mine && (mine || previous.from === all[index].from);
  return h(
    "li",
    { class: mine ? "message is-mine" : "message" },
    !sameSender &&
      h(
        "small",
        { class: "muted" },
        `${mine ? "You" : (fromUser?.name ?? "Guest")} · ${clock.format(new Date(timestamp))}`,
      ),
    h("p", {}, message),
  );
}
