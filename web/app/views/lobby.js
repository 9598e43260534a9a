// Before the call: what it is, how you look, what is needed to be let in.
import { field, h, icon, setIcon } from "../dom.js";
import { Refusal } from "../refusals.js";
import { accountCard, brand, onSubmit } from "./home.js";
import { toast, toastError } from "./toasts.js";

const OVER = new Set(["ended", "cancelled"]);
const GONE = new Set(["CALL_ENDED", "CALL_NOT_FOUND", "ROOM_NOT_FOUND"]);

/**
 * @param {{api: import("../api.js").Api, session: import("../session.js").Session, local: import("../media.js").LocalMedia,
 *   roomId: string, home: () => void, admitted: (seat: object) => void}} context
 */
export function lobbyView({ api, session, local, roomId, home, admitted }) {
  const side = h("div", { class: "lobby-side" }, h("p", { class: "muted", role: "status" }, "Looking up the call…"));
  const preview = devicePreview(local);
  const element = h(
    "div",
    { class: "lobby" },
    h(
      "header",
      { class: "home-head" },
      h("button", { type: "button", class: "bare", onclick: home, "aria-label": "Switchboard, front page" }, brand()),
    ),
    h("div", { class: "lobby-grid" }, preview.element, side),
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
        // It ended while the door was looked at.
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
      h("p", {}, "The call behind this link has ended or never was. Ask for a new link, or open a line yourself."),
      h("button", { type: "button", class: "primary", onclick: home }, "To the front page"),
    );
  }

  async function lookUp() {
    try {
      const data = await api.callByRoom(roomId);
      const call = data.call ?? data;
      if (OVER.has(call.status)) showNoCall();
      else showCall(call);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      toastError(error);
      showNoCall();
    }
  }

  lookUp();
  return { title: "Join a call", element, closed: preview.closed };
}

function summary({ currentParticipants, maxParticipants, type }) {
  const there =
    currentParticipants === undefined
      ? ""
      : currentParticipants === 1
        ? "1 person is there. "
        : `${currentParticipants} people are there. `;
  return `${there}${type === "public" ? "Anyone with the link may join" : "By invitation"}${maxParticipants ? `, up to ${maxParticipants}` : ""}.`;
}

/** The own picture with the two switches; what is chosen here is how one enters. */
function devicePreview(local) {
  const video = h("video", {
    autoplay: true,
    playsinline: true,
    class: "mirrored",
    "aria-label": "Your camera's picture",
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
    // An element that waits for a picture which never comes keeps the page loading.
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

/** A round on/off button for a device. */
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
        // Not `disabled`, which would take the keyboard's focus away.
        if (busy) return;
        if (forbidden) return toast(`${forbidden}.`);
        busy = true;
        if (!(await toggle()))
          toast(`The ${label.toLowerCase()} cannot be used. Is it allowed in this browser?`, "error");
        busy = false;
      },
    },
    picture,
  );
  return {
    element,
    /** Shows whether it is on; `why` says why it may not be turned on, if so. */
    set(on, why = null) {
      forbidden = on ? null : why;
      setIcon(picture, on ? symbol : `${symbol}-off`);
      element.setAttribute("aria-label", forbidden ?? `${on ? "Turn off" : "Turn on"} ${label.toLowerCase()}`);
      element.setAttribute("aria-disabled", forbidden !== null);
      element.classList.toggle("is-off", !on);
      element.title = element.getAttribute("aria-label");
    },
  };
}
