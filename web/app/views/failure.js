// View for an error that the page did not expect.
import { h } from "../dom.js";
import { t } from "../language.js";
import { sentence } from "../sentences.js";

/** @param {unknown} error */
export function failureView(error) {
  const reload = () => location.reload();
  const element = h(
    "div",
    { class: "over" },
    h("h1", {}, t("failureTitle")),
    h("p", { role: "alert" }, sentence(error)),
    h("button", { type: "button", class: "primary", autofocus: true, onclick: reload }, t("reload")),
  );
  return { title: t("error"), element };
}
