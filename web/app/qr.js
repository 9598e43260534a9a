// QR codes, in a file of their own, which is loaded when one is shown.
import { generate } from "lean-qr";
import { toSvg } from "lean-qr/extras/svg";

/** Returns an SVG element with the code of a text. The code includes its margin of four modules. */
export function qrCode(text) {
  return toSvg(generate(text), document, { on: "#000", off: "#fff", padX: 4, padY: 4 });
}
