// Web server for pages of another origin than the service's.
import { once } from "node:events";
import { createServer } from "node:http";
import { extname } from "node:path";

const TYPES = { ".js": "text/javascript" };

/**
 * Serves pages on a free port of this machine.
 * @param {Record<string, string>} files texts by path; one whose path does not end in `.js` is HTML
 * @returns {Promise<{url: string, close: () => void}>}
 */
export async function staticPages(files) {
  const server = createServer((incoming, answer) => {
    const { pathname } = new URL(incoming.url, "http://localhost");
    const type = TYPES[extname(pathname)] ?? "text/html";
    answer.writeHead(pathname in files ? 200 : 404, { "content-type": `${type}; charset=utf-8` }).end(files[pathname]);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://localhost:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
