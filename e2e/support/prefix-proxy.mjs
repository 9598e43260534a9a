// HTTP proxy that serves a deployment under a path, as an ingress with a rewrite rule does.
import { once } from "node:events";
import { createServer, request } from "node:http";

/**
 * Starts a proxy on a free port of this machine, which removes `prefix` from each path. Other paths
 * are 404.
 * @param {string} url the target
 * @param {string} prefix begins with a slash and ends without one
 * @returns {Promise<{url: string, close: () => void}>} `url` ends with the prefix and a slash
 */
export async function prefixProxy(url, prefix) {
  const { hostname, port } = new URL(url);
  const forward = ({ method, url: path, headers }) =>
    path.startsWith(`${prefix}/`) ? request({ hostname, port, method, path: path.slice(prefix.length), headers }) : null;
  const server = createServer((incoming, answer) => {
    const outgoing = forward(incoming);
    if (!outgoing) return answer.writeHead(404).end();
    outgoing.on("response", (response) => response.pipe(answer.writeHead(response.statusCode, response.headers)));
    outgoing.on("error", () => answer.destroy());
    incoming.pipe(outgoing);
  });
  server.on("upgrade", (incoming, near, head) => {
    const outgoing = forward(incoming);
    if (!outgoing) return near.destroy();
    outgoing.on("upgrade", (response, far, first) => {
      const lines = Object.entries(response.headers).map(([name, value]) => `${name}: ${value}`);
      near.write(["HTTP/1.1 101 Switching Protocols", ...lines, "", ""].join("\r\n"));
      near.write(first);
      far.write(head);
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) socket.on("error", () => (near.destroy(), far.destroy()));
    });
    outgoing.on("error", () => near.destroy());
    outgoing.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}${prefix}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
