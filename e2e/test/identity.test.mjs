// Users of other sign-ins: a real provider of OpenID Connect, and public keys of an app's backend.
// Tokens of the service's own sign-in, for other services.
import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { createRemoteJWKSet, jwtVerify } from "jose";
import Provider from "oidc-provider";
import { Client, account, admitted, newApp, newCall, operatorRequest, rest } from "../support/clients.mjs";
import { baseUrl, nodeUrls } from "../support/cluster.mjs";
import { startPods } from "../support/programs.mjs";
import { until } from "../support/until.mjs";

const AUDIENCE = "https://calls.example";

/** Sets the identity sources of an app. */
const setSources = (app, identitySources) => operatorRequest("PATCH", `/apps/${app.id}`, { identitySources });

/** Listens on a free port of this machine. Returns the server and its address. */
async function listen(handler) {
  const server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

async function connectError(token) {
  const client = new Client(nodeUrls()[0], { token, reconnection: false });
  const code = await Promise.race([
    once(client.socket, "connect_error").then(([error]) => error.data.code),
    once(client.socket, "connect").then(() => "connected"),
  ]);
  client.close();
  return code;
}

/** Starts a provider with these clients, which get tokens for the calls. */
async function startProvider(clientIds) {
  let provider;
  const { server, url } = await listen((request, response) => provider.callback()(request, response));
  const client = (id) => ({
    client_id: id,
    client_secret: `secret-of-${id}`,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
  });
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwtFor = () => ({ scope: "calls", audience: AUDIENCE, accessTokenFormat: "jwt", accessTokenTTL: 600 });
  provider = new Provider(url, {
    clients: clientIds.map(client),
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid: "one", alg: "RS256", use: "sig" }] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: jwtFor },
    },
  });
  return { server, url };
}

describe("users of a provider of OpenID Connect", { timeout: 120_000 }, () => {
  let app;
  let provider;
  let discovered;
  before(async () => {
    provider = await startProvider(["ann", "bob"]);
    discovered = await (await fetch(`${provider.url}/.well-known/openid-configuration`)).json();
    app = await newApp("Provider");
    const { issuer, jwks_uri: jwksUri } = discovered;
    await setSources(app, [{ kind: "oidc", issuer, audience: AUDIENCE, jwksUri }]);
  });
  after(() => provider?.server.close());

  /** Signs a client in, and returns its access token. */
  async function signIn(id, resource = AUDIENCE) {
    const response = await fetch(discovered.token_endpoint, {
      method: "POST",
      headers: { authorization: `Basic ${btoa(`${id}:secret-of-${id}`)}` },
      body: new URLSearchParams({ grant_type: "client_credentials", resource, scope: "calls" }),
    });
    const body = await response.json();
    assert.equal(response.status, 200, JSON.stringify(body));
    return body.access_token;
  }

  test("its access tokens create a call, host it and join it on every node", async () => {
    const [ann, bob] = [await signIn("ann"), await signIn("bob")];
    const call = await rest("POST", "/video-calls", { title: "Weekly" }, ann);
    assert.equal(call.hostId, "ann");
    const [host, guest] = [
      await Client.seated(nodeUrls()[0], call.roomId, { token: ann }),
      await Client.seated(nodeUrls()[1], call.roomId, { token: bob }),
    ];
    assert.deepEqual([host.joined.role, guest.joined.role], ["host", "participant"]);
    assert.deepEqual(guest.joined.participants.map(({ userId }) => userId).sort(), ["ann", "bob"]);
    await guest.emit("chat:message", { message: "hello" });
    await host.event("chat:message", ({ message }) => message === "hello");
    assert.equal((await guest.emit("room:end-call", {})).code, "HOST_REQUIRED");
    assert.equal((await host.emit("room:end-call", {})).success, true);
    for (const client of [host, guest]) client.close();

    const creator = await Client.connected(nodeUrls()[1], { token: ann });
    const created = await creator.emit("room:create", { name: "At once" });
    assert.equal(created.success, true, JSON.stringify(created));
    creator.close();
    const calls = await until("both calls are listed", async () => {
      const list = await rest("GET", "/video-calls", undefined, ann);
      return list.length === 2 && list;
    });
    assert.deepEqual(calls.map(({ title }) => title).sort(), ["At once", "Weekly"]);
  });

  test("a token that is changed, or for another audience, is refused", async () => {
    const token = await signIn("ann");
    const [header, claims, signature] = token.split(".");
    const changed = { ...JSON.parse(Buffer.from(claims, "base64url")), sub: "bob" };
    const forged = [header, Buffer.from(JSON.stringify(changed)).toString("base64url"), signature].join(".");
    const unsigned = `${Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url")}.${claims}.`;
    for (const bad of [forged, unsigned]) assert.equal(await connectError(bad), "TOKEN_INVALID");
    await setSources(app, [
      { kind: "oidc", issuer: discovered.issuer, audience: "another", jwksUri: discovered.jwks_uri },
    ]);
    await until("every node refuses the audience", async () => (await connectError(token)) === "TOKEN_INVALID");
  });
});

describe("users of a backend with a key of its own", { timeout: 120_000 }, () => {
  const issuer = `backend-${Date.now()}`;
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "one" };

  function userToken(sub, claims = {}) {
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const all = { iss: issuer, sub, iat: now, exp: now + 600, ...claims };
    const unsigned = `${encode({ alg: "EdDSA", kid: "one" })}.${encode(all)}`;
    return `${unsigned}.${sign(null, Buffer.from(unsigned), privateKey).toString("base64url")}`;
  }

  test("its tokens have room, role and permissions, and end with the source", async () => {
    const app = await newApp("Own keys");
    await setSources(app, [{ kind: "keys", issuer, jwks: { keys: [jwk] } }]);
    const token = userToken("ann", { room: "standup", role: "host", permissions: { canChat: false } });
    const ann = await Client.seated(nodeUrls()[0], "standup", { token });
    assert.equal(ann.joined.role, "host");
    assert.equal((await ann.emit("chat:message", { message: "hi" })).code, "FORBIDDEN");
    assert.equal((await ann.emit("room:create", { name: "Mine" })).code, "FORBIDDEN");
    const closed = ann.nextDisconnect();
    const began = Date.now();
    await setSources(app, []);
    await closed;
    assert.ok(Date.now() - began < 10_000, "closed in time");
    await until("every node refuses the issuer", async () => (await connectError(token)) === "TOKEN_INVALID");
    ann.close();
  });

  test("while its keys cannot be read the code says to try again, and then its users connect", async () => {
    const app = await newApp("Away");
    let isAway = true;
    const { server, url } = await listen((request, response) => {
      if (isAway) return response.writeHead(503).end();
      return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ keys: [jwk] }));
    });
    await setSources(app, [{ kind: "keys", issuer, jwksUri: `${url}/jwks.json` }]);
    const token = userToken("ann");
    assert.equal(await connectError(token), "IDENTITY_SOURCE_UNAVAILABLE");
    isAway = false;
    await until("the keys are read again", async () => (await connectError(token)) === "connected");
    server.close();
    await setSources(app, []);
  });
});

describe("tokens of the service itself", { timeout: 120_000 }, () => {
  const keysOf = (url) => new URL("/.well-known/jwks.json", url);

  test("a stock library verifies them and knows the address of the public keys alone", async (t) => {
    const { privateKey } = generateKeyPairSync("ed25519");
    const pods = await startPods("public-keys", {
      JWT_ACCESS_ALGORITHM: "EdDSA",
      JWT_ACCESS_PRIVATE_KEY: privateKey.export({ type: "pkcs8", format: "pem" }),
      JWT_REFRESH_SECRET: randomBytes(32).toString("hex"),
    });
    t.after(() => pods.stop());
    const { BASE_URL } = process.env;
    t.after(() => (process.env.BASE_URL = BASE_URL));
    process.env.BASE_URL = pods.apiUrl;
    const ann = await account("Ann");
    const keys = createRemoteJWKSet(keysOf(pods.apiUrl));
    const expected = { issuer: "videocall-api", audience: "videocall-client", algorithms: ["EdDSA"] };
    const { payload } = await jwtVerify(ann.token, keys, expected);
    assert.deepEqual([payload.userId, payload.name, payload.typ], [ann.user.id, "Ann", "access"]);
    const [header, , signature] = ann.token.split(".");
    const claims = Buffer.from(JSON.stringify({ ...payload, userId: "f".repeat(24) })).toString("base64url");
    await assert.rejects(jwtVerify(`${header}.${claims}.${signature}`, keys, expected), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" });

    const { roomId } = await newCall(ann);
    const client = await Client.seated(pods.nodeUrl, roomId, await admitted(roomId, ann));
    assert.equal(client.joined.isHost, true, "a node verifies them too");
    client.close();
    assert.deepEqual(await pods.stop(), [0, 0]);
  });

  test("while secrets sign them, no key is published", async () => {
    const answer = await fetch(keysOf(baseUrl()));
    assert.deepEqual([answer.status, await answer.json()], [200, { keys: [] }]);
  });
});
