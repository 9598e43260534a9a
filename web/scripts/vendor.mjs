// Copies the browser bundle of socket.io-client to web/vendor/, where the api serves it. Therefore
// the page needs no build step and node_modules/ is never served.
import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const web = new URL("../", import.meta.url);
const bundle = "socket.io.esm.min.js";

await mkdir(new URL("vendor/", web), { recursive: true });
await copyFile(
  new URL(`node_modules/socket.io-client/dist/${bundle}`, web),
  fileURLToPath(new URL(`vendor/${bundle}`, web)),
);
