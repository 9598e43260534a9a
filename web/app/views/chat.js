// Chat panel. Every message becomes a text node, never markup.
import { h, icon } from "../dom.js";
import { dateFormat, nameOf, t } from "../language.js";
import { withLinks } from "../link.js";
import { toastError } from "./toasts.js";

/** @param {import("../../vendor/switchboard.js").Room} room */
export function chatPanel(room) {
  const { chat } = room;
  const clock = dateFormat({ hour: "2-digit", minute: "2-digit" });
  const list = h("ol", { class: "messages" });
  const log = h("div", { class: "log", role: "log", "aria-label": t("messages"), tabindex: "0" }, list);
  const earlier = h("button", { type: "button", class: "quiet earlier", onclick: loadEarlier }, t("earlier"));
  const empty = h("p", { class: "muted chat-empty" }, t("noMessages"));
  const typing = h("p", { class: "typing muted", "aria-live": "polite" });
  const closed = h("p", { class: "muted chat-empty", role: "status", hidden: true }, t("chatOff"));
  const everyone = h("option", { value: "" }, t("everyone"));
  const to = h("select", { name: "to", "aria-label": t("to") }, everyone);
  const input = h("textarea", {
    name: "message",
    rows: 1,
    maxlength: 4000,
    placeholder: t("writeMessage"),
    "aria-label": t("message"),
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
    h("label", { class: "composer-to" }, h("span", { "aria-hidden": "true" }, t("to")), to),
    input,
    h("button", { type: "submit", class: "round primary", "aria-label": t("send") }, icon("send")),
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
    to.replaceChildren(everyone, ...others.map(([peerId, name]) => h("option", { value: peerId }, t("only", { name }))));
    to.value = others.some(([peerId]) => peerId === chosen) ? chosen : "";
  }

  let shown = "";
  function render() {
    const { messages } = chat;
    const off = !room.canChat;
    closed.hidden = !off;
    closed.textContent = t(room.settings.chatEnabled === false ? "chatOff" : "chatNotAllowed");
    form.hidden = off;
    empty.hidden = messages.length > 0 || off;
    earlier.hidden = !chat.hasMore;
    const names = [...chat.typing.values()].map((name) => name || t("guest"));
    typing.textContent = names.length === 0 ? "" : t(names.length === 1 ? "isTyping" : "areTyping", { names: names.join(", ") });
    renderReceivers();
    const key = `${messages.length} ${messages[0]?.id} ${messages.at(-1)?.id}`;
    if (key === shown) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    list.replaceChildren(...messages.map((message, index) => item(message, messages[index - 1], { room, clock })));
    if (atEnd || messages.at(-1)?.mine) log.scrollTop = log.scrollHeight;
    shown = key;
  }

  return {
    title: t("chat"),
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

/** A link in a message. The other page learns nothing of this one. */
const link = ({ href, label }) => h("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, label);

function item(message, previous, { room, clock }) {
  const { mine, from, fromUser, message: text, timestamp, to } = message;
  const sameSender = previous && previous.from === from && previous.to === to;
  const author = mine ? t("youWrote") : (fromUser?.name || t("guest"));
  const receiver = () => message.toName ?? nameOf(room.participants.get(to));
  const heading = !to ? author : mine ? t("toOnly", { author, name: receiver() }) : t("toYouOnly", { author });
  return h(
    "li",
    { class: ["message", mine && "is-mine", to && "is-private"].filter(Boolean).join(" ") },
    !sameSender &&
      h("small", { class: "muted" }, `${heading} · ${clock.format(new Date(timestamp))}`),
    h("p", {}, withLinks(text).map((part) => (part.href ? link(part) : part))),
  );
}
