// Entry point: shows the view for the page's address.
import { Api } from "./api.js";
import { Call } from "./call.js";
import { exposeDebugView } from "./debug.js";
import { linkTo, roomInLink } from "./link.js";
import { LocalMedia } from "./media.js";
import { Session } from "./session.js";
import { callView } from "./views/call.js";
import { homeView } from "./views/home.js";
import { prejoinView } from "./views/prejoin.js";
import { overView } from "./views/over.js";
import { toastError } from "./views/toasts.js";

const app = document.getElementById("app");
const session = new Session();
const api = new Api(session);
const local = new LocalMedia();
let call = null;

exposeDebugView(() => call);

/** Replaces the view. Each view is `{ title, element, closed? }`. */
let shown = null;
function show(view) {
  shown?.closed?.();
  shown = view;
  document.title = `${view.title} · Switchboard`;
  app.replaceChildren(view.element);
  (view.element.querySelector("[autofocus]") ?? app).focus({ preventScroll: true });
}

function route() {
  const roomId = roomInLink(location.pathname + location.search);
  if (!roomId) {
    local.stop();
    show(homeView({ api, session, open: openRoom, refresh: route }));
  } else if (session.seat?.roomId === roomId && session.token) {
    // The page was reloaded during the call: return to the seat without asking the user.
    local.start(session.seat.media).then(() => enter(roomId, session.seat));
  } else {
    show(prejoinView({ api, session, local, roomId, home: goHome, admitted: (seat) => enter(roomId, seat) }));
  }
}

function openRoom(roomId) {
  history.pushState(null, "", linkTo(roomId));
  route();
}

function goHome() {
  history.pushState(null, "", "/");
  route();
}

/** Enters a room with an admission: `{ joinToken, passcode, iceServers, title, pid }`. */
function enter(roomId, { joinToken, passcode, iceServers = [], title = "", pid }) {
  session.setSeat({ roomId, joinToken, title, pid, media: deviceChoice() });
  call = new Call({
    session,
    local,
    iceServers,
    admit: () => api.join({ roomId, ...(passcode && { passcode }), ...guestName() }),
    refresh: () => api.refresh(),
  });
  const rememberDevices = () => session.seat && session.setSeat({ ...session.seat, media: deviceChoice() });
  local.addEventListener("change", rememberDevices);
  call.addEventListener("refused", ({ detail }) => toastError(detail));
  call.addEventListener("status", () => {
    if (call?.status !== "over") return;
    const { ending, reason } = call;
    call = null;
    local.removeEventListener("change", rememberDevices);
    session.setSeat(null);
    local.stop();
    show(overView({ ending, reason, home: goHome, again: route }));
  });
  show(callView({ call, local, title, link: linkTo(roomId) }));
}

const deviceChoice = () => ({ audio: local.state.audioEnabled, video: local.state.videoEnabled });
const guestName = () => (session.identity?.isGuest ? { guestName: session.identity.user.name } : {});

window.addEventListener("popstate", () => {
  call?.leave();
  route();
});
await session.claim();
route();
