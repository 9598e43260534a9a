// Entry point: shows the view for the page's address.
import { LocalMedia, Switchboard } from "../vendor/switchboard.js";
import { exposeDebugView } from "./debug.js";
import { HOME, linkTo, roomInLink } from "./link.js";
import { onLanguage } from "./language.js";
import { Spotlight } from "./spotlight.js";
import { callView } from "./views/call.js";
import { manageDevices } from "./views/devices.js";
import { failureView } from "./views/failure.js";
import { homeView } from "./views/home.js";
import { prejoinView } from "./views/prejoin.js";
import { overView } from "./views/over.js";
import { toastError } from "./views/toasts.js";

const app = document.getElementById("app");
const switchboard = new Switchboard(HOME);
const local = new LocalMedia();
let room = null;

exposeDebugView(() => room);
manageDevices(local);

/** Number of times that the page went to an address. A step that began before it shows nothing. */
let visits = 0;
let shown = null;
let make = null;

/**
 * Replaces the view.
 * @param {() => {title: string, element: Element, closed?: () => void}} maker
 */
function show(maker) {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  shown?.closed?.();
  make = maker;
  const view = (shown = maker());
  document.title = `${view.title} · Switchboard`;
  app.replaceChildren(view.element);
  (view.element.querySelector("[autofocus]") ?? app).focus({ preventScroll: true });
}

async function route() {
  const visit = (visits += 1);
  const roomId = roomInLink(location.search);
  const { seat } = switchboard;
  if (!roomId) {
    local.stop();
    show(() => homeView({ switchboard, open: openRoom, refresh: guarded(route) }));
  } else if (seat?.roomId === roomId && switchboard.user) {
    // The page was reloaded during the call: return to the seat without asking the user.
    await local.start(seat.media);
    // The user may have gone elsewhere while the devices were opened.
    if (visit === visits) await enter(seat);
  } else {
    show(() => prejoinView({ switchboard, local, roomId, home: goHome, admitted: guarded(enter) }));
  }
}

/** An error of any kind is shown, with the devices closed: the page never stays empty. */
const guarded =
  (step) =>
  (...values) =>
    step(...values).catch((error) => {
      room?.leave();
      local.stop();
      show(() => failureView(error));
      throw error;
    });

function openRoom(roomId) {
  history.pushState(null, "", linkTo(roomId));
  guarded(route)();
}

function goHome() {
  history.pushState(null, "", HOME);
  guarded(route)();
}

/** Enters a room with an admission, or with the seat that this tab had before a reload. */
async function enter(admission, { passcode } = {}) {
  const visit = visits;
  const entered = await switchboard.connect(admission, { local, passcode });
  if (visit !== visits) return entered.leave();
  room = entered;
  const { title = "" } = switchboard.seat;
  room.on("error", toastError);
  room.on("status", (status) => {
    if (status !== "over") return;
    room = null;
    const { ending, reason } = entered;
    show(() => overView({ ending, reason, home: goHome, again: guarded(route) }));
  });
  const since = Date.now();
  const spotlight = new Spotlight(entered);
  show(() => callView({ room: entered, local, spotlight, title, link: linkTo(admission.roomId), since }));
}

onLanguage(() => show(make));
// Another tab of this browser has signed in or out.
window.addEventListener("storage", ({ key }) => key === "switchboard.account" && !room && guarded(route)());
window.addEventListener("popstate", () => {
  room?.leave();
  guarded(route)();
});
guarded(route)();
