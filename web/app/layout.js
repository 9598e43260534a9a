// Places of the tiles on the stage. Pure: sizes in pixels in, rectangles out.

const GAP_PX = 12;
/** Bounds of width divided by height of a tile with a person. */
const PERSON = { least: 1, most: 16 / 9 };
/** A shared screen may have any shape. */
const ANY = { least: 0, most: Infinity };
const STRIP = { least: 88, share: 0.18, most: 140 };

const clamp = (value, least, most) => Math.max(least, Math.min(most, value));

/** Places equal tiles as large as possible, the last row in the middle. */
function grid(count, { top, width, height }, shape) {
  let best = null;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cell = [(width - GAP_PX * (columns - 1)) / columns, (height - GAP_PX * (rows - 1)) / rows];
    const ratio = clamp(cell[0] / cell[1], shape.least, shape.most);
    const tile = Math.max(0, Math.min(cell[0], cell[1] * ratio));
    if (!best || tile * tile / ratio > best.area) best = { columns, rows, width: tile, height: tile / ratio, area: (tile * tile) / ratio };
  }
  const above = top + (height - best.rows * best.height - GAP_PX * (best.rows - 1)) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / best.columns);
    const inRow = Math.min(best.columns, count - row * best.columns);
    const before = (width - inRow * best.width - GAP_PX * (inRow - 1)) / 2;
    return {
      left: before + (index % best.columns) * (best.width + GAP_PX),
      top: above + row * (best.height + GAP_PX),
      width: best.width,
      height: best.height,
    };
  });
}

/**
 * Places `featured` large tiles, and `others` in a strip below them; without featured tiles all
 * others in a grid.
 * @param {{featured: number, others: number, screens: boolean, width: number, height: number}}
 *   stage `screens`: the featured tiles are shared screens
 * @returns {{featured: Rectangle[], others: Rectangle[]}} with `left`, `top`, `width`, `height`
 */
export function layout({ featured, others, screens, width, height }) {
  const whole = { top: 0, width, height };
  if (featured === 0) return { featured: [], others: others ? grid(others, whole, PERSON) : [] };
  const shape = screens ? ANY : PERSON;
  if (others === 0) return { featured: grid(featured, whole, shape), others: [] };
  const strip = clamp(height * STRIP.share, STRIP.least, STRIP.most);
  return {
    featured: grid(featured, { top: 0, width, height: height - strip - GAP_PX }, shape),
    others: grid(others, { top: height - strip, width, height: strip }, PERSON),
  };
}
