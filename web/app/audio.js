// Sounds of the page, and the level of a microphone.
import { preference } from "./preferences.js";

/** Notes of each sound, in hertz, one after the other. */
const SOUNDS = { joined: [523, 659], left: [659, 523], message: [784], knock: [587, 587, 784], hand: [880, 988] };
const NOTE_S = 0.12;
const VOLUME = 0.06;
/** Factor from the root mean square of speech to a level that fills the meter. */
const GAIN = 6;

let shared;

/** Returns the audio context of the page, or null in a browser without one. */
function context() {
  if (!globalThis.AudioContext) return null;
  shared ??= new AudioContext();
  // A browser suspends it until the page may play sound.
  if (shared.state === "suspended") shared.resume().catch(() => {});
  return shared;
}

/** Plays a sound, unless the user has turned sounds off. @param {keyof typeof SOUNDS} name */
export function playSound(name) {
  const audio = preference("sounds", true) ? context() : null;
  if (!audio) return;
  SOUNDS[name].forEach((frequency, index) => {
    const start = audio.currentTime + index * NOTE_S;
    const tone = new OscillatorNode(audio, { frequency });
    const volume = new GainNode(audio, { gain: 0 });
    volume.gain.setTargetAtTime(VOLUME, start, 0.01);
    volume.gain.setTargetAtTime(0, start + NOTE_S * 0.6, 0.03);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + NOTE_S * 2);
  });
}

/**
 * Measures the microphone, also when its track is replaced.
 * @param {import("../vendor/switchboard.js").LocalMedia} local
 */
export function levelOf(local) {
  let measured = null;
  let source = null;
  let analyser = null;
  let samples;
  function follow() {
    const track = local.state.audioEnabled ? local.audioTrack : null;
    if (track === measured) return;
    source?.disconnect();
    source = null;
    measured = track;
    const audio = track && context();
    if (!audio) return;
    analyser = new AnalyserNode(audio, { fftSize: 512 });
    samples = new Float32Array(analyser.fftSize);
    source = new MediaStreamAudioSourceNode(audio, { mediaStream: new MediaStream([track]) });
    source.connect(analyser);
  }
  return {
    /** Returns the level at this moment, from 0 to 1. */
    read() {
      follow();
      if (!source) return 0;
      analyser.getFloatTimeDomainData(samples);
      const mean = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      return Math.min(1, Math.sqrt(mean) * GAIN);
    },
    close: () => source?.disconnect(),
  };
}
