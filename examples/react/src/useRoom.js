// A room of the client SDK as state of React.
import { useEffect, useReducer, useRef, useState } from "react";
import { Switchboard } from "@switchboard/client";

/**
 * Joins a call while the component is mounted, and renders it again at each change of the room.
 * @param {{ server: string, roomId: string, options: import("@switchboard/client").JoinOptions }}
 *   call
 * @returns {{ room?: import("@switchboard/client").Room, error?:
 *   import("@switchboard/client").SwitchboardError }}
 */
export function useRoom({ server, roomId, options }) {
  const [joined, setJoined] = useState({});
  const [, render] = useReducer((count) => count + 1, 0);
  // Options that are new objects at each render must not join again.
  const latest = useRef(options);
  latest.current = options;

  useEffect(() => {
    const mounted = new AbortController();
    setJoined({});
    new Switchboard(server).join(roomId, latest.current).then(
      (room) => {
        // The component is gone, or shows another call.
        if (mounted.signal.aborted) return room.leave();
        mounted.signal.addEventListener("abort", () => room.leave());
        for (const event of ["change", "status", "quality", "videoLimited"]) room.on(event, render, mounted);
        setJoined({ room });
      },
      (error) => mounted.signal.aborted || setJoined({ error }),
    );
    return () => mounted.abort();
  }, [server, roomId]);

  return joined;
}
