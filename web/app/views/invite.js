// Dialog that invites others: the link, and its QR code.
import { h } from "../dom.js";
import { t } from "../language.js";
import { closeButton, openDialog } from "./dialogs.js";
import { toast } from "./toasts.js";

/** @param {string} link */
export function openInvite(link, title) {
  const input = h("input", { id: "invite-link", readonly: true, value: link, onfocus: () => input.select() });
  const code = h("div", { class: "qr", role: "img", "aria-label": t("qrCode") });
  // Loaded when it is wanted, because few need it.
  import("../qr.js").then(({ qrCode }) => code.replaceChildren(qrCode(link)), () => code.remove());
  const share = navigator.share && h("button", { type: "button", class: "secondary", onclick: shareLink }, t("share"));
  function shareLink() {
    // A user who closes the dialog of the browser needs no notice.
    navigator.share({ title, url: link }).catch(() => {});
  }
  openDialog({
    title: t("inviteTitle"),
    content: [
      h("p", {}, t("inviteText")),
      h("div", { class: "field" }, h("label", { for: "invite-link" }, t("callLink")), input),
      code,
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "primary", autofocus: true, onclick: () => copyLink(link) }, t("copyLink")),
        share,
        closeButton(),
      ),
    ],
  });
}

async function copyLink(link) {
  try {
    await navigator.clipboard.writeText(link);
    toast(t("linkCopied"));
  } catch {
    // No permission, or an insecure page: the user can copy it by hand.
    toast(t("copyByHand", { link }));
  }
}
