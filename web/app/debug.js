// Read-only view of the call, for automated tests and for debugging in the browser's console.

/**
 * Defines `window.switchboard`.
 * @param {() => import("../vendor/switchboard.js").Room | null} current
 */
export function exposeDebugView(current) {
  const describe = (room, peer) => ({
    peerId: peer.peerId,
    connectionState: peer.connectionState,
    polite: peer.polite,
    screen: peer.streams.screen !== null,
    name: room.participants.get(peer.peerId)?.user?.name,
    node: room.participants.get(peer.peerId)?.node,
  });
  const view = {
    get status() {
      return current()?.status ?? "none";
    },
    get peerId() {
      return current()?.selfId ?? null;
    },
    get node() {
      return current()?.node ?? null;
    },
    get peers() {
      const room = current();
      return room?.mesh?.peers.map((peer) => describe(room, peer)) ?? [];
    },
    /** RTP statistics of each peer connection, by peer id. */
    async stats() {
      const peers = current()?.mesh?.peers ?? [];
      return Object.fromEntries(await Promise.all(peers.map(async (peer) => [peer.peerId, await peer.stats()])));
    },
  };
  Object.defineProperty(window, "switchboard", { value: Object.freeze(view) });
}
