// Bundles the compiled SDK into one file for pages without a bundler, and copies it with
// socket.io-client to web/vendor/, from where the build of the page takes both to web/dist/.
import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const sdk = new URL("../", import.meta.url);
const vendor = new URL("../../web/vendor/", sdk);
const socket = "socket.io.esm.min.js";

/** Leaves socket.io-client out of the bundle: the file beside it has it. */
const socketBeside = {
  name: "socket-beside",
  setup: ({ onResolve }) => onResolve({ filter: /^socket\.io-client$/ }, () => ({ path: `./${socket}`, external: true })),
};

await build({
  entryPoints: [fileURLToPath(new URL("dist/index.js", sdk))],
  outfile: fileURLToPath(new URL("switchboard.js", vendor)),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  plugins: [socketBeside],
  logLevel: "warning",
});
await mkdir(vendor, { recursive: true });
await copyFile(new URL(`node_modules/socket.io-client/dist/${socket}`, sdk), new URL(socket, vendor));
