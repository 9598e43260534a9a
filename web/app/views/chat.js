// Chat panel. Every message becomes a text node, never markup.
import { h, icon, nameOf } from "../dom.js";
import { toastError } from "./toasts.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** @param {import("../../vendor/switchboard.js").Room} room */
export function chatPanel(room) {
  const { chat } = room;
  const log = h("ol", { class: "messages", role: "log", "aria-label": "Messages", tabindex: "0" });
  const earlier = h("button", { type: "button", class: "quiet earlier", onclick: loadEarlier }, "Earlier messages");
  const empty = h("p", { class: "muted chat-empty" }, "No messages yet.");
  const typing = h("p", { class: "typing muted", "aria-live": "polite" });
  const closed = h("p", { class: "muted chat-empty", role: "status", hidden: true }, "Chat is turned off in this call.");
  const everyone = h("option", { value: "" }, "Everyone");
  const to = h("select", { name: "to", "aria-label": "To" }, everyone);
  const input = h("textarea", {
    name: "message",
    rows: 1,
    maxlength: 4000,
    placeholder: "Write a message",
    "aria-label": "Message",
    autocomplete: "off",
    oninput: () => (input.value && !to.value ? chat.startTyping() : chat.stopTyping()),
    onkeydown: (event) => {
      // An input method may end a composition with Enter. That Enter must not send the message.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    },
  });
  const form = h(
    "form",
    { class: "composer", onsubmit: send },
    h("label", { class: "composer-to" }, h("span", { "aria-hidden": "true" }, "To"), to),
    input,
    h("button", { type: "submit", class: "round primary", "aria-label": "Send" }, icon("send")),
  );

  async function send(event) {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    const receiver = to.value && { peerId: to.value, name: nameOf(room.participants.get(to.value)) };
    try {
      await chat.send(text, receiver || null);
    } catch (error) {
      toastError(error);
      // Put the refused text back, unless the user has typed something else since.
      input.value ||= text;
    }
  }

  async function loadEarlier() {
    const height = log.scrollHeight;
    await chat.loadEarlier();
    render();
    // Keep the visible messages in place.
    log.scrollTop += log.scrollHeight - height;
  }

  /** Updates the list of receivers. Keeps the chosen one while they are in the call. */
  function renderReceivers() {
    const chosen = to.value;
    const others = room.others.map((participant) => [participant.peerId, nameOf(participant)]);
    const key = JSON.stringify(others);
    if (to.dataset.key === key) return;
    to.dataset.key = key;
    to.replaceChildren(everyone, ...others.map(([peerId, name]) => h("option", { value: peerId }, `${name} only`)));
    to.value = others.some(([peerId]) => peerId === chosen) ? chosen : "";
  }

  let shown = "";
  function render() {
    const { messages } = chat;
    const off = room.settings.chatEnabled === false;
    closed.hidden = !off;
    form.hidden = off;
    empty.hidden = messages.length > 0 || off;
    earlier.hidden = !chat.hasMore;
    const names = [...chat.typing.values()];
    typing.textContent = names.length === 0 ? "" : `${names.join(", ")} ${names.length === 1 ? "is" : "are"} typing…`;
    renderReceivers();
    const key = `${messages.length} ${messages[0]?.id} ${messages.at(-1)?.id}`;
    if (key === shown) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    log.replaceChildren(...messages.map((message, index) => item(message, messages[index - 1], room)));
    if (atEnd || messages.at(-1)?.mine) log.scrollTop = log.scrollHeight;
    shown = key;
  }

  return {
    title: "Chat",
    element: h("div", { class: "chat" }, empty, closed, earlier, log, typing, form),
    render,
    /** Addresses the next message to one participant. */
    writeTo(peerId) {
      renderReceivers();
      to.value = peerId;
      input.focus();
    },
    opened: () => {
      log.scrollTop = log.scrollHeight;
      input.focus();
    },
  };
}

function item(message, previous, room) {
  const { mine, from, fromUser, message: text, timestamp, to } = message;
  const sameSender = previous && previous.from === from && previous.to === to;
  const author = mine ? "You" : (fromUser?.name ?? "Guest");
  const privately = to && (mine ? ` to ${message.toName ?? nameOf(room.participants.get(to))} only` : " to you only");
  return h(
    "li",
    { class: ["message", mine && "is-mine", to && "is-private"].filter(Boolean).join(" ") },
    !sameSender &&
      h("small", { class: "muted" }, `${author}${privately ?? ""} · ${clock.format(new Date(timestamp))}`),
    h("p", {}, text),
  );
}
