// Builds the page into dist/, the folder that the api serves: scripts and styles with a hash in
// their names, so that browsers keep them for good, and each text also compressed.
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { build } from "esbuild";

const web = fileURLToPath(new URL("./", import.meta.url));
const dist = join(web, "dist");
const STYLES = ["style", "pages", "call", "tile", "panel", "dialogs"];
const COMPRESSED = /\.(css|html|js|svg)$/;
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
const { metafile } = await build({
  stdin: { contents: STYLES.map((name) => `@import "./${name}.css";`).join("\n"), loader: "css", resolveDir: web, sourcefile: "style" },
  outdir: join(dist, "app"),
  entryNames: "style-[hash]",
  bundle: true,
  minify: true,
  metafile: true,
  logLevel: "warning",
});
const scripts = await build({
  entryPoints: [join(web, "app/main.js")],
  outdir: join(dist, "app"),
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  minify: true,
  format: "esm",
  target: "es2022",
  metafile: true,
  logLevel: "warning",
});
const outputs = (meta, entry) =>
  Object.entries(meta.outputs)
    .filter(([, { entryPoint }]) => entryPoint && entry(entryPoint))
    .map(([path]) => basename(path));
const [style] = outputs(metafile, () => true);
const [main] = outputs(scripts.metafile, (entry) => entry.endsWith("main.js"));

const html = await readFile(join(web, "index.html"), "utf8");
await writeFile(join(dist, "index.html"), html.replace("app/style.css", `app/${style}`).replace("app/main.js", `app/${main}`));
for (const name of ["favicon.svg", "icons.svg", "fallback.js", "reference.js", "vendor"]) {
  await cp(join(web, name), join(dist, name), { recursive: true });
}

// The reference at /api/docs.
for (const name of ["swagger-ui-bundle.js", "swagger-ui.css"]) {
  await cp(join(web, "node_modules/swagger-ui-dist", name), join(dist, "vendor", name));
}

for (const name of await readdir(dist, { recursive: true })) {
  if (!COMPRESSED.test(name)) continue;
  const text = await readFile(join(dist, name));
  await writeFile(join(dist, `${name}.br`), await promisify(brotliCompress)(text, BROTLI));
  await writeFile(join(dist, `${name}.gz`), await promisify(gzip)(text, { level: 9 }));
}
