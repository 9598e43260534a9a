// A call: tiles, one's own devices, a hand and reactions.
import { useEffect, useRef, useState } from "react";
import { useRoom } from "./useRoom.js";

/** How long a reaction is shown. */
const REACTION_MS = 3_000;

export function Call({ server, roomId, name }) {
  const { room, error } = useRoom({ server, roomId, options: { name, audio: true, video: true } });
  if (error) return <p role="alert">{error.code}: {error.message}</p>;
  if (!room) return <p role="status">Joining…</p>;
  if (room.status === "over") return <p role="status">The call is over: {room.ending.code ?? room.ending}</p>;
  if (room.status === "waiting") return <p role="status">Please wait, the host will let you in.</p>;
  return (
    <main>
      <p role="status">
        {room.status}: {room.participants.size} here
        {room.videoLimited && ", cameras are off because there are too many people"}
      </p>
      {[...room.participants.values()].map((participant) => (
        <Tile key={participant.peerId} participant={participant} />
      ))}
      <Controls room={room} />
      <Reactions room={room} />
    </main>
  );
}

function Tile({ participant }) {
  const video = useRef(null);
  useEffect(() => participant.attach(video.current), [participant]);
  const { name, handRaisedAt, isSelf, quality } = participant;
  return (
    <figure>
      <video ref={video} width="320" />
      <figcaption>
        {name}
        {isSelf && " (you)"}
        {handRaisedAt && " ✋"}
        {quality?.quality === "poor" && " – poor connection"}
      </figcaption>
    </figure>
  );
}

function Controls({ room }) {
  const { audioEnabled, videoEnabled } = room.local.state;
  const raised = Boolean(room.self?.handRaisedAt);
  // Refusals and devices that cannot be opened are shown by their code.
  const [problem, setProblem] = useState("");
  const run = (action) => () => action().then(() => setProblem(""), ({ code }) => setProblem(code));
  return (
    <nav aria-label="Call controls">
      <button onClick={run(() => room.local.setAudio(!audioEnabled))}>{audioEnabled ? "Mute" : "Unmute"}</button>
      <button onClick={run(() => room.local.setVideo(!videoEnabled))}>{videoEnabled ? "Stop video" : "Start video"}</button>
      <button onClick={run(() => room.setHand(!raised))}>{raised ? "Lower hand" : "Raise hand"}</button>
      <button onClick={run(() => room.react("👍"))}>👍</button>
      <button onClick={() => room.leave()}>Leave</button>
      {problem && <span role="alert">{problem}</span>}
    </nav>
  );
}

function Reactions({ room }) {
  const [shown, setShown] = useState([]);
  useEffect(() => {
    const mounted = new AbortController();
    const show = (participant, emoji) => {
      const reaction = { id: crypto.randomUUID(), text: `${participant.name} ${emoji}` };
      setShown((before) => [...before, reaction]);
      setTimeout(() => setShown((before) => before.filter(({ id }) => id !== reaction.id)), REACTION_MS);
    };
    room.on("reaction", show, mounted);
    return () => mounted.abort();
  }, [room]);
  return (
    <ul aria-label="Reactions">
      {shown.map(({ id, text }) => (
        <li key={id}>{text}</li>
      ))}
    </ul>
  );
}
