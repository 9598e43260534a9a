// Helpers that create elements. User data becomes text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Creates an element: `h("button", { class: "x", onclick: f, "aria-label": "Mute" }, "text",
 * child)`. Functions become listeners. `true` adds an attribute, `false` and null omit it. Null and
 * `false` children are skipped.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Creates an icon from icons.svg. Decorative: its parent carries the accessible name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Changes the symbol of an icon created by `icon`. */
export function setIcon(svg, name) {
  const href = `icons.svg#${name}`;
  if (svg.firstChild.getAttribute("href") !== href) svg.firstChild.setAttribute("href", href);
}

/** Names an element that shows a symbol alone: for screen readers, and as its tooltip. */
export function setLabel(element, label) {
  element.setAttribute("aria-label", label);
  element.title = label;
}

/** Creates a form field: label, input and an optional hint, linked for screen readers. */
export function field(label, attributes, hint) {
  const id = `field-${attributes.name}`;
  const input = h("input", { id, ...attributes, ...(hint && { "aria-describedby": `${id}-hint` }) });
  const root = h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    input,
    hint && h("small", { id: `${id}-hint` }, hint),
  );
  return { root, input };
}

/** Shows an error at a field that `field` has created, or removes it when `text` is null. */
export function setFieldError(input, text) {
  const id = `${input.id}-error`;
  document.getElementById(id)?.remove();
  const hints = (input.getAttribute("aria-describedby") ?? "").split(" ").filter((hint) => hint && hint !== id);
  input.setAttribute("aria-describedby", [...(text ? [id] : []), ...hints].join(" "));
  input.setAttribute("aria-invalid", text !== null);
  if (!text) return;
  input.after(h("small", { id, class: "field-error" }, text));
}

/** Returns up to two initials of a name, for a tile without video. */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0].toUpperCase()).join("") || "?";
}

/** Returns a hue in degrees, the same for the same id in every browser. */
export function hueOf(id) {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return hash % 360;
}

/** Creates a switch of a setting, with its label. */
export function switchRow(label, attributes) {
  const input = h("input", { type: "checkbox", role: "switch", ...attributes });
  return { input, row: h("label", { class: "switch" }, h("span", {}, label), input) };
}
