// Token endpoint for Node.js: GET /token?user=ann&room=standup. Your own sign-in says who it is.
import { createHmac } from "node:crypto";
import { createServer } from "node:http";

const { SWITCHBOARD_KEY_ID: iss, SWITCHBOARD_KEY_SECRET: secret, PORT = "8090" } = process.env;
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function userToken(sub, room, role = "participant") {
  const now = Math.floor(Date.now() / 1000);
  const unsigned = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ iss, sub, name: sub, room, role, iat: now, exp: now + 3600 })}`;
  return `${unsigned}.${createHmac("sha256", secret).update(unsigned).digest("base64url")}`;
}

createServer((request, response) => {
  const query = new URL(request.url, "http://localhost").searchParams;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ token: userToken(query.get("user"), query.get("room")) }));
}).listen(Number(PORT), "127.0.0.1");
