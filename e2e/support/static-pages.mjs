// Web server for pages of another origin than the service's.
import { once } from "node:events";
import { createServer } from "node:http";

/**
 * Serves pages on a free port of this machine.
 * @param {Record<string, string>} pages HTML by path
 * @returns {Promise<{url: string, close: () => void}>}
 */
export async function staticPages(pages) {
  const server = createServer((incoming, answer) => {
    const html = pages[new URL(incoming.url, "http://localhost").pathname];
    answer.writeHead(html ? 200 : 404, { "content-type": "text/html; charset=utf-8" }).end(html);
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
