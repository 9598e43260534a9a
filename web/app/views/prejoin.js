// Page before the call: shows the call, previews the devices, and asks for name and passcode.
import { field, h, icon, setIcon } from "../dom.js";
import { Refusal, sentence } from "../refusals.js";
import { WHO_MAY_JOIN, accountCard, brand, onSubmit } from "./home.js";
import { toast, toastError } from "./toasts.js";

const OVER = new Set(["ended", "cancelled"]);
const GONE = new Set(["CALL_ENDED", "CALL_NOT_FOUND", "ROOM_NOT_FOUND"]);

/**
 * @param {{api: import("../api.js").Api, session: import("../session.js").Session, local:
 *   import("../media.js").LocalMedia, roomId: string, home: () => void, admitted: (seat: object) =>
 *   void}} context
 */
export function prejoinView({ api, session, local, roomId, home, admitted }) {
  const side = h("div", { class: "prejoin-side" }, h("p", { class: "muted", role: "status" }, "Looking up the call…"));
  const preview = devicePreview(local);
  const element = h(
    "div",
    { class: "prejoin" },
    h(
      "header",
      { class: "home-head" },
      h("button", { type: "button", class: "bare", onclick: home, "aria-label": "Switchboard, front page" }, brand()),
    ),
    h("div", { class: "prejoin-grid" }, preview.element, side),
  );

  function showCall(call) {
    side.replaceChildren(
      h("h1", {}, call.title),
      h("p", { class: "muted" }, summary(call)),
      admissionForm(call),
      ...(call.requiresAuth && !session.account ? [accountCard(api, lookUp)] : []),
    );
  }

  function admissionForm(call) {
    const { account } = session;
    if (call.requiresAuth && !account) return h("p", {}, "This call is for people with an account.");
    const asksPasscode = (call.requiresPasscode ?? call.hasPasscode) && !(account && account.id === call.hostId);
    const form = h(
      "form",
      {},
      account
        ? h("p", {}, "You join as ", h("strong", {}, account.name), ".")
        : field("Your name", {
            name: "guestName",
            required: true,
            minlength: 2,
            maxlength: 100,
            autocomplete: "name",
            value: session.identity?.user?.name,
          }).root,
      asksPasscode &&
        field("Passcode of the call", {
          name: "passcode",
          type: "password",
          minlength: 4,
          maxlength: 20,
          autocomplete: "off",
        }).root,
      h("button", { type: "submit", class: "primary" }, "Join the call"),
    );
    return onSubmit(form, async ({ guestName, passcode }) => {
      const name = guestName && { guestName: guestName.trim() };
      const admission = await api.join({ roomId, ...name, ...(passcode && { passcode }) }).catch((error) => {
        // The call ended while this page was shown.
        if (GONE.has(error.code)) showNoCall();
        throw error;
      });
      const { joinToken, iceServers } = admission;
      preview.keep();
      admitted({ joinToken, iceServers, passcode, title: call.title });
    });
  }

  function showNoCall() {
    side.replaceChildren(
      h("h1", {}, "No call here"),
      h("p", {}, "The call has ended, or this link is wrong. Ask for a new link, or start a call yourself."),
      h("button", { type: "button", class: "primary", onclick: home }, "Go to the front page"),
    );
  }

  /** Shows the host's own call when it is over. The server says whether it is too late to reopen it. */
  function showEnded(call) {
    const reopen = () => api.reopenCall(call.id).then(lookUp, toastError);
    side.replaceChildren(
      h("h1", {}, call.title),
      h("p", {}, "This call is over. You can open it again for everyone who has the link."),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "secondary", onclick: reopen }, "Reopen the call"),
        h("button", { type: "button", class: "primary", onclick: home }, "Go to the front page"),
      ),
    );
  }

  function showRetry(refusal) {
    side.replaceChildren(
      h("h1", {}, "The call could not be looked up"),
      h("p", { role: "status" }, sentence(refusal)),
      h("button", { type: "button", class: "primary", onclick: lookUp }, "Try again"),
    );
  }

  async function lookUp() {
    try {
      const data = await api.callByRoom(roomId);
      const call = data.call ?? data;
      if (!OVER.has(call.status)) showCall(call);
      else if (session.account?.id === call.hostId) showEnded(call);
      else showNoCall();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.isTemporary) return showRetry(error);
      toastError(error);
      showNoCall();
    }
  }

  lookUp();
  return { title: "Join a call", element, closed: preview.closed };
}

function summary({ currentParticipants, maxParticipants, type, requiresInvitation }) {
  const present =
    currentParticipants === undefined
      ? ""
      : currentParticipants === 1
        ? "1 person is in the call. "
        : `${currentParticipants} people are in the call. `;
  const access = requiresInvitation ? "Only invited people may join" : `${WHO_MAY_JOIN[type]} may join`;
  return `${present}${access}${maxParticipants ? `, up to ${maxParticipants} people` : ""}.`;
}

/** Creates the camera preview with both device switches. The user joins with these choices. */
function devicePreview(local) {
  const video = h("video", {
    autoplay: true,
    playsinline: true,
    class: "mirrored",
    "aria-label": "Your camera",
  });
  video.muted = true;
  const off = h("p", { class: "preview-off" }, "Your camera is off");
  const microphone = deviceSwitch("Microphone", "mic", () => local.setAudio(!local.state.audioEnabled));
  const camera = deviceSwitch("Camera", "camera", () => local.setVideo(!local.state.videoEnabled));
  const render = () => {
    microphone.set(local.state.audioEnabled);
    camera.set(local.state.videoEnabled);
    off.hidden = local.state.videoEnabled;
    video.hidden = !local.state.videoEnabled;
    // A video element whose stream has no picture keeps the page in the loading state.
    const stream = local.state.videoEnabled ? local.stream : null;
    if (video.srcObject !== stream) video.srcObject = stream;
  };
  local.addEventListener("change", render);
  render();
  local.start().then((missing) => {
    if (missing.length > 0)
      toast(
        `No ${missing.join(" and no ")}: others will not ${missing.includes("camera") ? "see" : "hear"} you until you turn it on.`,
      );
  });
  let kept = false;
  return {
    element: h(
      "section",
      { class: "preview", "aria-label": "How you will appear" },
      video,
      off,
      h("div", { class: "preview-bar" }, microphone.element, camera.element),
    ),
    keep: () => (kept = true),
    closed: () => {
      local.removeEventListener("change", render);
      if (!kept) local.stop();
    },
  };
}

/** Creates a round on/off button for a device. */
export function deviceSwitch(label, symbol, toggle) {
  const picture = icon(symbol);
  let busy = false;
  let forbidden = null;
  const element = h(
    "button",
    {
      type: "button",
      class: "round",
      onclick: async () => {
        // Does not set `disabled`, because that would remove the keyboard focus.
        if (busy) return;
        if (forbidden) return toast(`${forbidden}.`);
        busy = true;
        if (!(await toggle()))
          toast(`The ${label.toLowerCase()} cannot be used. Check that this browser allows it.`, "error");
        busy = false;
      },
    },
    picture,
  );
  return {
    element,
    /**
     * Shows whether the device is on. `reason` tells why the user may not turn it on, or is null.
     */
    set(on, reason = null) {
      forbidden = on ? null : reason;
      setIcon(picture, on ? symbol : `${symbol}-off`);
      element.setAttribute("aria-label", forbidden ?? `${on ? "Turn off" : "Turn on"} ${label.toLowerCase()}`);
      element.setAttribute("aria-disabled", forbidden !== null);
      element.classList.toggle("is-off", !on);
      element.title = element.getAttribute("aria-label");
    },
  };
}
